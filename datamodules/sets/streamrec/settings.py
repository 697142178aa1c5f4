"""What a simulated world is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields

DAY_S = 86_400

# name -> least, most; all included
_LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "users": (1, 1_000_000),
    "items": (100, 1_000_000),
    "days": (2, 3_650),
    "start": (0, 4_000_000_000),
    "openings_per_user": (1, 2_000),
    "styles": (1, 16),
    "topic_strength": (0, 4),
    "style_strength": (0, 4),
    "format_strength": (0, 4),
    "profile_strength": (0, 2),
    "appeal_spread": (0, 2),
    "completion_strength": (0, 2),
    "drift": (0, 1),
    "popular_share": (0, 1),
    "random_share": (0, 1),
    "evergreen_share": (0, 1),
    "early_share": (0, 1),
    "rewatch": (0, 1),
    "rise_days": (0.01, 3_650),
    "fade_days": (0.01, 3_650),
    "fade_floor": (0, 1),
}


@dataclass(frozen=True)
class StreamRecSettings:
    """Everything that decides a world: the same settings give the same world on every machine.

    The defaults were chosen before any model was trained on them (`scripts/benchmarks/streamrec_difficulty.py`) and
    stay as they are, so that results can be compared. Strengths are standard deviations on the scale of an exponent:
    with a strength of 1, what suits a user by one standard deviation is e times as likely.

    Args:
        seed: of all draws.
        users: how many.
        items: how many.
        days: length of the period.
        start: first second of the period, seconds since 1970 in UTC.
        openings_per_user: how often an average user is about to open something; some are six times as active. About a
            third finds nothing new and leaves no event.
        styles: length of the style vector, which no text mentions and thumbnails show a little.
        topic_strength: how choosy users are about topics.
        style_strength: how choosy they are about styles within a topic.
        format_strength: how choosy they are about formats (guides, interviews, …) within a topic.
        profile_strength: how far age band, gender and country shift the taste for topics.
        appeal_spread: how far the appeal of items differs.
        completion_strength: how far the same preferences decide whether what was opened is completed.
        drift: how far tastes move over the period: 0 not at all, 1 to independent ones.
        popular_share: share of openings that come from a list of what is popular at that time.
        random_share: share of openings that come from anywhere in the catalogue.
        evergreen_share: share of items whose appeal does not fade.
        early_share: share of items that were released before the period; the others come evenly over it.
        rewatch: chance that something is opened again when it comes up again.
        rise_days: age at which an item has half of its full appeal.
        fade_days: age at which half of the appeal that an item can lose is lost.
        fade_floor: share of the appeal that a fading item keeps forever.

    Raises:
        ValueError: for a setting out of its range.
    """

    seed: int = 0
    users: int = 4_000
    items: int = 5_000
    days: int = 180
    start: int = 1_704_067_200  # 2024-01-01
    openings_per_user: float = 80.0
    styles: int = 3
    topic_strength: float = 1.95
    style_strength: float = 1.5
    format_strength: float = 0.7
    profile_strength: float = 0.3
    appeal_spread: float = 0.8
    completion_strength: float = 0.5
    drift: float = 0.3
    popular_share: float = 0.15
    random_share: float = 0.05
    evergreen_share: float = 0.3
    early_share: float = 0.5
    rewatch: float = 0.1
    rise_days: float = 1.0
    fade_days: float = 30.0
    fade_floor: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"{field.name} must be a{' whole' if whole else ''} number, got {value!r}")
            least, most = _LIMITS[field.name]
            if not least <= value <= most:
                raise ValueError(f"{field.name} must be from {least:,} to {most:,}, got {value:,}")
        if self.popular_share + self.random_share > 1:
            total = self.popular_share + self.random_share
            raise ValueError(f"popular_share and random_share must be at most 1 together, got {total:g}")

    @property
    def end(self) -> int:
        """One second past the period."""
        return self.start + self.days * DAY_S
