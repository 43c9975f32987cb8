"""Evaluate the published scores of 14 systems on ASVspoof 2019 LA, and compare with what was expected of them.

Run from the repository root, with the score vectors, the protocol and the ASV scores in ../shared:

    python examples/published_scores.py docs/results

Writes published_scores.csv (one row per system) and published_scores_by_attack.csv. Each system goes through the same code as
`spoofscope metrics SCORES --corpus asvspoof2019_la --protocol eval --asv-scores ASV`.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from spoofscope.analysis.scorefile import evaluate_score_file, read_asv_scores
from spoofscope.corpora.asvspoof2019_la import ASVspoof2019LA
from spoofscope.inventory import attack_table

SHARED = Path(__file__).resolve().parents[2] / "shared"


def main(out: Path) -> None:
    trials = ASVspoof2019LA().trials("eval", protocol_file=SHARED / "protocols" / "ASVspoof2019.LA.cm.all.protocol.txt.gz")
    asv = read_asv_scores(SHARED / "protocols" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt.gz")
    vectors = np.load(SHARED / "scores" / "asvspoof2019_la_eval_14systems.npz")
    expected = json.loads((SHARED / "scores" / "asvspoof2019_la_eval_expected.json").read_text())
    rows, attacks = [], []
    for known in expected:
        name = known["system"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.txt"
            lines = zip(vectors["utt_id"].tolist(), vectors[name].tolist(), strict=True)
            path.write_text("\n".join(f"{trial_id} {score!r}" for trial_id, score in lines))
            result = evaluate_score_file(path, trials, rng=np.random.default_rng(0), asv=asv)
        eer = result.metrics["eer"]
        rows.append(
            {
                "system": name,
                "eer_percent": 100 * eer.value,
                "eer_low": 100 * eer.low,
                "eer_high": 100 * eer.high,
                "eer_iid_low": 100 * result.eer_iid.low,
                "eer_iid_high": 100 * result.eer_iid.high,
                "eer_challenge_percent": 100 * result.eer_challenge,
                "eer_expected_percent": known["eer_percent"],
                "min_tdcf_2019": result.min_tdcf_2019,
                "min_tdcf_2019_expected": known["min_tdcf_2019"],
                "min_tdcf_2021": result.min_tdcf_2021,
                "min_dcf": result.metrics["min_dcf"].value,
                "sign_warning": bool(result.warnings),
            }
        )
        attacks += [{"system": name} | row for row in attack_table(result)]
        print(
            f"{name:32} EER {100 * eer.value:8.4f} %  expected {known['eer_percent']:8.4f}  min t-DCF {result.min_tdcf_2019:.5f}"
        )
    table = pl.DataFrame(rows)
    worst_eer = float((table["eer_percent"] - table["eer_expected_percent"]).abs().max())
    worst_tdcf = float((table["min_tdcf_2019"] - table["min_tdcf_2019_expected"]).abs().max())
    print(f"largest difference from what was expected: EER {worst_eer:.4f} percentage points, min t-DCF {worst_tdcf:.6f}")
    table.write_csv(out / "published_scores.csv", float_precision=5)
    pl.DataFrame(attacks, infer_schema_length=None).write_csv(out / "published_scores_by_attack.csv", float_precision=6)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results"))
