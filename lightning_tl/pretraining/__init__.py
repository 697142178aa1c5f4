"""Self-supervised pretraining of backbones."""

from lightning_tl.pretraining.contrastive import ContrastivePretraining
from lightning_tl.pretraining.encoder_pretraining import EncoderPretraining
from lightning_tl.pretraining.masked_autoencoder import MaskedAutoencoder
from lightning_tl.pretraining.masked_language_model import MaskedLanguageModel
from lightning_tl.pretraining.pretraining import Pretraining

__all__ = ["ContrastivePretraining", "EncoderPretraining", "MaskedAutoencoder", "MaskedLanguageModel", "Pretraining"]
