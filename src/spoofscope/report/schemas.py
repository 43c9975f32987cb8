"""The columns and types of every table that the page reads; docs/run-folder.md says what they mean."""

from __future__ import annotations

import polars as pl

_TYPES: dict[str, pl.DataType] = {"text": pl.String(), "float": pl.Float64(), "int": pl.Int64(), "flag": pl.Boolean()}


def _columns(**groups: str) -> dict[str, pl.DataType]:
    return {column: _TYPES[kind] for kind, columns in groups.items() for column in columns.split()}


AUDIT: dict[str, dict[str, pl.DataType]] = {
    "conditions": _columns(
        text="detector condition label family unit clusters note",
        float="level eer eer_low eer_high eer_iid_low eer_iid_high eer_challenge tied_fraction auc auc_low auc_high min_dcf "
        "min_dcf_low min_dcf_high act_dcf cllr min_cllr delta_eer delta_eer_low delta_eer_high",
        int="n_bonafide n_spoof n_failed n_clusters",
        flag="within_noise",
    ),
    "transfer": _columns(
        text="detector condition operating_point note",
        float="threshold development_miss development_false_alarm miss miss_low miss_high false_alarm false_alarm_low "
        "false_alarm_high dcf dcf_low dcf_high min_dcf calibration_loss own_threshold shift",
        int="n_bonafide n_spoof",
    ),
    "breakdown": _columns(
        text="detector condition columns group note",
        float="eer eer_low eer_high miss false_alarm threshold",
        int="n_bonafide n_spoof",
    ),
    "det": _columns(text="detector condition", float="miss false_alarm"),
    "histograms": _columns(text="detector condition label", float="left right", int="count"),
    "heard": _columns(text="detector condition", float="seconds eer eer_low eer_high miss false_alarm", int="n_listening"),
    "detectors": _columns(text="detector other", float="delta_eer delta_eer_low delta_eer_high", int="n", flag="within_noise"),
    "measured": _columns(text="detector condition quantity unit", float="median low high", int="n"),
    "failures": _columns(text="detector condition trial_id path reason"),
    "worst": _columns(text="detector condition trial_id label attack speaker clip", float="score threshold margin", int="rank"),
    "embeddings": _columns(text="embedder condition label layers dtype heard settings folder", int="trials n_failed dim"),
}

_SPACE = "embedder condition layer"
_HELD = "held_by held"

# Every table of the second part answers a question of its own, so each may be absent.
ANALYSIS: dict[str, dict[str, pl.DataType]] = {
    "holdout": _columns(
        text=f"{_SPACE} head method {_HELD} disjoint note",
        float="eer_with eer_with_low eer_with_high eer_without eer_without_low eer_without_high gap gap_low gap_high auc_with "
        "auc_without cllr_with cllr_without false_alarm_with false_alarm_without false_alarm_gap false_alarm_gap_low "
        "false_alarm_gap_high gap_std",
        int="n_bonafide n_spoof n_train",
        flag="within_noise exposed",
    ),
    "geometry": _columns(text=f"{_SPACE} method {_HELD} predictor expected_sign", float="value", flag="circular"),
    "association": _columns(
        text=f"{_SPACE} head method held_by attacks predictor carried_by expected_sign verdict",
        float="rho rho_low rho_high bca_low bca_high p_t p p_max_t p_holm p_bh tau tau_p pearson pearson_p partial_rho partial_p "
        "difficulty_rho difficulty_p jackknife_low jackknife_high rho_without p_without power critical_rho mae mae_median",
        int="n_attacks",
        flag="circular primary",
    ),
    "layers": _columns(
        text="embedder condition head predictor layer gap_of",
        float="rho rho_low rho_high band_low band_high p p_max_t",
        int="n_attacks",
    ),
    "probes": _columns(
        text=f"{_SPACE} target within probe features note",
        float="accuracy accuracy_low accuracy_high chance control_accuracy selectivity selectivity_low selectivity_high "
        "shuffled_accuracy shuffled_selectivity codelength compression few_shot_accuracy margin",
        int="n_classes n_trials",
    ),
    "regimes": _columns(
        text=f"first second condition first_layer second_layer head {_HELD} note",
        float="gap_first gap_second difference difference_low difference_high",
        flag="within_noise exposed",
    ),
    "regime_tests": _columns(
        text="first second condition first_layer second_layer head attacks note",
        float="mean_difference mean_difference_low mean_difference_high p rho",
        int="n_attacks",
    ),
    "confounds": _columns(
        text=f"{_SPACE} question target held baseline_kind note",
        float="value value_low value_high baseline difference difference_low difference_high",
        int="n n_classes",
    ),
    "cross_corpus": _columns(
        text=f"{_SPACE} head train test held note",
        float="eer eer_low eer_high eer_within eer_within_low eer_within_high",
        int="n_bonafide n_spoof",
        flag="contaminated",
    ),
    "coverage": _columns(
        text=f"scores_of condition {_HELD} variant note",
        float="target rate rate_low rate_high effective_n threshold difference difference_low difference_high",
        int="n n_calibration",
    ),
    "prospect": _columns(
        text=f"{_SPACE} head model note",
        float="mae mae_low mae_high mae_median difference difference_low difference_high rank_rho rank_p",
        int="n_attacks",
    ),
    "prospect_attacks": _columns(text=f"{_SPACE} head model held", float="predicted actual"),
    "few_samples": _columns(
        text=f"{_SPACE} head held note",
        float="predicted predicted_low predicted_high actual mae covered",
        int="samples n_draws",
    ),
    "masking": _columns(
        text=f"plan detector {_HELD} arm seed supports note",
        float="low_hz high_hz eer eer_low eer_high eer_seen gap gap_low gap_high difference difference_low difference_high "
        "held_difference held_difference_low held_difference_high seen_difference seen_difference_low seen_difference_high p p_holm",
        int="n_bonafide n_spoof",
    ),
    "augmentation": _columns(
        text="detector question condition held note",
        float="eer_plain eer_augmented loss loss_low loss_high difference difference_low difference_high recovered recovered_low "
        "recovered_high",
        int="n_bonafide n_spoof",
    ),
}

SCHEMAS = AUDIT | ANALYSIS
REQUIRED_TABLES = ("conditions", "breakdown", "det", "histograms", "failures")
