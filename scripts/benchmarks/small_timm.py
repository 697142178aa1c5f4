"""Every family of timm as a small model with random weights: its smallest architecture, made smaller where it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIDE = 64  # height and width of the images in pixels, where the family takes such small ones
_VIT: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
_SWIN: dict[str, Any] = {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2)}
_STAGES: dict[str, Any] = {"embed_dims": (16, 16, 32, 32), "depths": (1, 1, 2, 1)}
_LAYERS: dict[str, Any] = {"embed_dims": (16, 16, 32, 32), "layers": (1, 1, 2, 1)}
# An architecture of each family (a file of `timm.models`), and the arguments that make it smaller.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("beit_base_patch16_224", _VIT),
    "byoanet": ("halonet_h1", {}),
    "byobnet": ("test_byobnet", {}),
    "cait": ("cait_xxs24_224", _VIT),
    "coat": ("coat_tiny", {}),
    "convit": ("convit_tiny", {**_VIT, "local_up_to_layer": 1}),
    "convmixer": ("convmixer_768_32", {}),
    "convnext": ("test_convnext", {}),
    "cpubone": ("cpubone_nano", {}),
    "crossvit": ("crossvit_tiny_240", {"embed_dim": (16, 32), "depth": ((1, 1, 0), (1, 1, 0)), "num_heads": (2, 2)}),
    "csatv2": ("csatv2", {}),
    "cspnet": ("cs3darknet_focus_s", {}),
    "cspnext": ("cspnext_tiny", {}),
    "davit": ("davit_tiny", {}),
    "deepseek_vit": ("deepseek_vit_412m", _VIT),
    "deit": ("deit_tiny_patch16_224", _VIT),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}),
    "dla": ("dla34", {}),
    "dpn": ("dpn48b", {}),
    "edgenext": ("edgenext_xx_small", {}),
    "efficientformer": ("efficientformer_l1", _STAGES),
    "efficientformer_v2": ("efficientformerv2_s0", _STAGES),
    "efficientnet": ("test_efficientnet", {}),
    "efficientvim": ("efficientvim_m1", {"depths": (1, 2, 1)}),
    "efficientvit_mit": ("efficientvit_b0", {"depths": (1, 1, 2, 1)}),
    "efficientvit_msra": ("efficientvit_m0", {}),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", _VIT),
    "fasternet": ("fasternet_t0", {"embed_dim": 16, "depths": (1, 1, 2, 1)}),
    "fastvit": ("fastvit_t8", _LAYERS),
    "focalnet": ("focalnet_tiny_srf", {}),
    "gcvit": ("gcvit_xxtiny", {}),
    "gemma4_vit": ("gemma4_vit_167m", _VIT),
    "ghostnet": ("ghostnet_050", {}),
    "hardcorenas": ("hardcorenas_b", {}),
    "hgnet": ("hgnetv2_b0", {}),
    "hiera": ("hiera_tiny_224", {}),
    "hieradet_sam2": ("sam2_hiera_tiny", {}),
    "hrnet": ("hrnet_w18_small", {}),
    "iformer": ("iformer_t", {}),
    "inception_next": ("inception_next_atto", {"dims": (16, 16, 32, 32), "depths": (1, 1, 2, 1)}),
    "inception_resnet_v2": ("inception_resnet_v2", {}),
    "inception_v3": ("inception_v3", {}),
    "inception_v4": ("inception_v4", {}),
    "lcnetv2": ("lcnetv2_small", {"depths": (1, 1, 2, 1)}),
    "levit": ("levit_128", {}),
    "lowformer": ("lowformer_b0", {}),
    "mambaout": ("test_mambaout", {}),
    "maxxvit": ("test_maxvit", {}),
    "metaformer": ("poolformer_s12", {}),
    "mlp_mixer": ("gmixer_12_224", {}),
    "mobilenetv3": ("tf_mobilenetv3_small_minimal_100", {}),
    "mobilenetv5": ("mobilenetv5_base", {}),
    "mobilevit": ("mobilevit_xxs", {}),
    "mvitv2": ("mvitv2_tiny", {}),
    "naflexvit": ("naflexvit_base_patch16_siglip", _VIT),
    "nasnet": ("nasnetalarge", {}),
    "nest": ("nest_tiny", {}),
    "nextvit": ("nextvit_small", {}),
    "nfnet": ("test_nfnet", {}),
    "pit": ("pit_xs_224", {}),
    "pnasnet": ("pnasnet5large", {}),
    "pvt_v2": ("pvt_v2_b0", {"depths": (1, 1, 2, 1)}),
    "qwen3_vit": ("qwen3_vit_88m", _VIT),
    "rdnet": ("rdnet_tiny", {}),
    "regnet": ("regnetx_002", {}),
    "repghost": ("repghostnet_050", {}),
    "repvit": ("repvit_m1", {}),
    "res2net": ("res2next50", {"layers": (1, 1, 2, 1)}),
    "resnest": ("resnest14d", {"channels": (8, 8, 16, 16)}),
    "resnet": ("test_resnet", {}),
    "resnetv2": ("resnetv2_18", {"layers": (1, 1, 2, 1)}),
    "rexnet": ("rexnet_100", {}),
    "selecsls": ("selecsls42", {}),
    "senet": ("legacy_seresnet18", {"layers": (1, 1, 2, 1)}),
    "sequencer": ("sequencer2d_s", _LAYERS),
    "shvit": ("shvit_s1", {}),
    "sknet": ("skresnet18", {"layers": (1, 1, 2, 1)}),
    "starnet": ("starnet_s050", {}),
    "swiftformer": ("swiftformer_xs", _LAYERS),
    "swin_transformer": ("swin_tiny_patch4_window7_224", _SWIN),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", _SWIN),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", _SWIN),
    "tiny_vit": ("tiny_vit_5m_224", {"depths": (1, 1, 2, 1)}),
    "tnt": ("tnt_s_legacy_patch16_224", {"depth": 2}),
    "tresnet": ("tresnet_m", {"layers": (1, 1, 2, 1)}),
    "twins": ("twins_svt_small", _STAGES),
    "vgg": ("vgg11", {}),
    "visformer": ("visformer_tiny", _VIT),
    "vision_transformer": ("test_vit", {}),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", _VIT),
    "vision_transformer_relpos": ("test_vit_relpos", {}),
    "vision_transformer_sam": ("samvit_base_patch16_224", _VIT),
    "vitamin": ("vitamin_small_224", {"depth": 2}),
    "volo": ("volo_d1_224", {}),
    "vovnet": ("ese_vovnet19b_slim_dw", {}),
    "xception": ("legacy_xception", {}),
    "xception_aligned": ("xception41p", {}),
    "xcit": ("xcit_nano_12_p8_224", _VIT),
}
# Those that need larger images: height and width in pixels.
SIDES = {
    "byoanet": 256,
    "crossvit": 240,
    "deepseek_vit": 224,
    "efficientformer": 224,
    "inception_resnet_v2": 96,
    "inception_v3": 96,
    "inception_v4": 96,
}
LEFT_OUT: dict[str, str] = {}


def families() -> list[str]:
    """Names of timm's files of models."""
    from timm.models import list_modules

    return sorted(list_modules())


def save_small(family: str, folder: Path) -> Path:
    """A folder in the form that timm has on the hub, with five classes and random weights that no zeros hide."""
    import timm

    from lightning_tl.backbones.timm_folder import write_timm_folder

    torch.manual_seed(0)
    architecture, smaller = SMALL[family]
    side = SIDES.get(family, SIDE)
    known: Any = timm.get_pretrained_cfg(architecture)
    size: dict[str, Any] = {"img_size": side} if known is not None and known.fixed_input_size else {}
    model: Any = timm.create_model(architecture, pretrained=False, num_classes=5, **smaller, **size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    write_timm_folder(model, folder, None, {"input_size": (3, side, side), "crop_pct": 1.0})
    return folder
