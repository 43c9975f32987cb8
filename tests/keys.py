"""Make a key in the ASVspoof 2021 LA format whose counts per phase, class, codec and attack are the published ones."""

from pathlib import Path

import numpy as np

# Trials and bona fide trials of the eval phase per codec, and its spoof trials per attack, as published.
EVAL_CODECS = {
    "alaw": (19_436, 1_924),
    "g722": (19_375, 1_937),
    "gsm": (23_520, 2_356),
    "none": (19_421, 1_949),
    "opus": (23_520, 2_356),
    "pstn": (19_384, 1_938),
    "ulaw": (23_520, 2_356),
}
EVAL_ATTACKS = dict(
    zip(
        (f"A{number:02}" for number in range(7, 20)),
        (10_238, 10_368, 10_152, 10_318, 10_276, 10_259, 10_302, 10_234, 10_235, 10_390, 10_239, 10_148, 10_201),
        strict=True,
    )
)
# The whole key holds 25,938 trials of each codec, 2,636 of them bona fide; gsm, opus and ulaw have no progress trials, so
# what they hold beyond eval (2,418 and 280) is hidden, and what the other four hold beyond both is progress.
CODEC_TOTAL, CODEC_BONAFIDE = 25_938, 2_636
HIDDEN_TOTAL, HIDDEN_BONAFIDE = 2_418, 280
TRANSMISSIONS = {"none": ("none",), "pstn": ("mad_tx",)}


def write_key(path: Path, *, seed: int = 0, drop: int = 0, hidden_as: str = "hidden") -> Path:
    """Write a whole key, shuffled; `drop` leaves out that many of its last lines, `hidden_as` renames the hidden phase."""
    rng = np.random.default_rng(seed)
    rows = []
    for codec, (total, bonafide) in EVAL_CODECS.items():
        progress = (CODEC_TOTAL - HIDDEN_TOTAL - total, CODEC_BONAFIDE - HIDDEN_BONAFIDE - bonafide)
        for phase, n, n_bonafide in (
            ("eval", total, bonafide),
            ("progress", *progress),
            (hidden_as, HIDDEN_TOTAL, HIDDEN_BONAFIDE),
        ):
            rows += [(codec, "bonafide", phase)] * n_bonafide + [(codec, "spoof", phase)] * (n - n_bonafide)
    attacks = iter(rng.permutation(np.repeat(list(EVAL_ATTACKS), list(EVAL_ATTACKS.values()))))
    names = list(EVAL_ATTACKS)
    lines = []
    for at, (codec, label, phase) in enumerate(rows):
        spoof_attack = next(attacks) if (label, phase) == ("spoof", "eval") else names[at % len(names)]
        attack = "bonafide" if label == "bonafide" else spoof_attack
        routes = TRANSMISSIONS.get(codec, ("ita_tx", "sin_tx", "loc_tx"))
        trim = "notrim" if phase in ("eval", "progress") else "trim"
        lines.append(
            f"LA_{at % 48 + 1:04} LA_E_{1_000_000 + at} {codec} {routes[at % len(routes)]} {attack} {label} {trim} {phase}\n"
        )
    shuffled = [lines[at] for at in rng.permutation(len(lines))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(shuffled[: len(shuffled) - drop]), encoding="utf-8")
    return path
