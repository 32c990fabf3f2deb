"""All marts at once."""

from . import cohorts, deliveries, experiments, flags, identities, segments
from .bodies import History

KEYS = {
    "fct_flag_exposures": (
        "environment", "identity", "feature_id", "variation", "enabled", "assignment_reason"),
    "fct_flag_assignments": ("environment", "identity", "feature_id", "valid_from"),
    "fct_flag_exposures_daily": (
        "environment", "feature_id", "variation", "enabled", "assignment_reason", "day"),
    "dim_flags": ("environment", "feature_id"),
    "fct_segment_memberships": ("environment", "identity", "segment_id", "entered_at"),
    "fct_segment_sizes_daily": ("environment", "segment_id", "day"),
    "dim_identities": ("environment", "identity"),
    "fct_identity_traits": ("environment", "identity", "trait_key", "valid_from"),
    "fct_flag_changes": ("delivery_id",),
    "fct_deliveries_hourly": ("environment", "hour", "kind"),
    "quarantined_deliveries": ("delivery_id",),
    "dim_cohorts": ("cohort_key",),
    "fct_cohort_memberships": ("environment", "cohort_key", "identity", "entered_at"),
    "fct_cohort_sizes_daily": ("environment", "cohort_key", "day"),
    "fct_cohort_retention": (
        "environment", "cohort_key", "counted_from", "period", "start_period", "period_number"),
    "fct_cohort_flag_exposures": ("environment", "cohort_key", "feature_id", "variation"),
    "dim_experiments": ("experiment_key",),
    "fct_experiment_assignments": ("experiment_key", "identity"),
    "fct_experiment_results": ("experiment_key", "metric_key", "variation", "population"),
}  # fmt: skip


def expected(history: History, declared: list, events: list, stale_days: int = 30) -> dict[str, list[dict]]:
    """Return the rows of every mart, by its name."""
    spells, members = flags.assignments(history), segments.memberships(history)
    traits, cohort_members = identities.traits(history), cohorts.memberships(history)
    assigned = experiments.assignments(history, declared, spells, events)
    return {
        "fct_flag_exposures": flags.exposures(history),
        "fct_flag_assignments": spells,
        "fct_flag_exposures_daily": flags.exposures_daily(history),
        "dim_flags": flags.flags(history, stale_days),
        "fct_segment_memberships": members,
        "fct_segment_sizes_daily": segments.sizes_daily(history, members),
        "dim_identities": identities.identities(history, traits, members),
        "fct_identity_traits": [
            {column: v for column, v in row.items() if column not in ("state", "trait")} for row in traits
        ],
        "fct_flag_changes": deliveries.changes(history),
        "fct_deliveries_hourly": deliveries.hourly(history),
        "quarantined_deliveries": deliveries.quarantined(history),
        "dim_cohorts": cohorts.cohorts_now(cohort_members),
        "fct_cohort_memberships": cohort_members,
        "fct_cohort_sizes_daily": cohorts.sizes_daily(history, cohort_members),
        "fct_cohort_retention": cohorts.retention(history, cohort_members),
        "fct_cohort_flag_exposures": cohorts.exposures(history, cohort_members),
        "dim_experiments": experiments.dimension(history, declared),
        "fct_experiment_assignments": assigned,
        "fct_experiment_results": experiments.results(history, declared, assigned, events),
    }
