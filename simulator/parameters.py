"""The parameters of a simulated world."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Parameters:
    """The size, the period and the seed of a simulated world. Equal parameters give equal bytes.

    deliveries: number of evaluations over all environments. Webhooks about changes come on top.
    identities: number per environment, at most deliveries / calls_per_state / environments.
    features: number of flags in a body (370 bytes each). One is added and one deleted during the traffic.
    calls_per_state: number of consecutive calls of an identity with identical bodies, before a trait changes.
    volatile: share of identities with a trait that changes at every call (1.0: no two bodies are alike).
    transient: share of calls that send a trait which Flagsmith does not store.
    is_changing: whether weights, values and overrides change during the traffic.
    has_sale: whether identities differ in activity, stay away for weeks or leave for good (`population`), buy at every visit, more of
        it in a sale (`conversions`), and whether `checkout_button` is switched off at the end (if is_changing).
    starts_at: start of the period, in UTC without a time zone; days: its length.
    """

    deliveries: int = 10_000
    identities: int = 500
    features: int = 22
    calls_per_state: int = 5
    environments: tuple[str, ...] = ("production",)
    volatile: float = 0.0
    transient: float = 0.02
    is_changing: bool = True
    has_sale: bool = False
    starts_at: datetime = datetime(2026, 9, 1)
    days: float = 28.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.deliveries, self.identities, self.features, self.calls_per_state) < 1 or self.days <= 0:
            raise ValueError(
                "Deliveries, identities, features, calls per state and days must all be positive"
            )
        if self.identities > self.visits:
            raise ValueError(
                f"{self.identities} identities do not all fit into {self.visits} visits per environment "
                "(deliveries / calls per state / environments): ask for fewer identities or more deliveries"
            )

    @property
    def visits(self) -> int:
        return max(1, self.deliveries // self.calls_per_state // len(self.environments))

    @property
    def span(self) -> timedelta:
        return timedelta(days=self.days)
