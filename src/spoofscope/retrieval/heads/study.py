"""The reference study's own neighbours, for repeating them: random splits of rows, raw cosines; the other modules are what should be believed.

A speaker, and an utterance sent through two codecs, may stand on both sides; embeddings are not centred; novelty is held against other attacks only, and over
every row of the group, those included that a scaler would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.analysis.design import Mask
from spoofscope.analysis.study import REFERENCE, reference_test_rows
from spoofscope.errors import NotEnoughTrials
from spoofscope.metrics.rates import auc, eer
from spoofscope.retrieval.heads.attribution import VOTE, voted
from spoofscope.retrieval.heads.detection import weighted
from spoofscope.retrieval.heads.known import Known
from spoofscope.retrieval.index import Vectors
from spoofscope.retrieval.settings import read_setting

K = 20
SETTING = read_setting("exact(metric='cosine')")
NOTE = "random splits of rows; raw cosines; no interval"


def reference_detection(vectors: Vectors, is_bonafide: Mask, held: NDArray[np.object_]) -> dict[str, Any]:
    """Return the row of knn.csv for a similarity-weighted vote of 20 on a 70/30 split of rows."""
    test = reference_test_rows(is_bonafide, held, 0)
    scores = weighted(Known.of(vectors, is_bonafide, ~test, SETTING).search(vectors[test], K))
    pair = scores[is_bonafide[test]], scores[~is_bonafide[test]]
    counts = {"n_bonafide": len(pair[0]), "n_spoof": len(pair[1])}
    return {"split": REFERENCE, "method": "weighted", "k": K, "eer": eer(*pair), "auc": auc(*pair), "note": NOTE} | counts


def reference_attribution(vectors: Vectors, is_bonafide: Mask, held: NDArray[np.object_]) -> dict[str, Any]:
    """Return the row of attribution.csv for a similarity-weighted vote of 20 among the spoof of 70 % of the rows."""
    test = reference_test_rows(is_bonafide, held, 0)
    spoof = ~is_bonafide & (held != "")
    names, codes = np.unique(held.astype(str), return_inverse=True)
    index = SETTING.build()
    index.add(np.flatnonzero(spoof & ~test), vectors[spoof & ~test])
    if len(index) < K:
        raise NotEnoughTrials(f"its {K} neighbours are more than the {len(index)} spoof trials to be found")
    shares = voted(index.search(vectors[spoof & test], K), codes, len(names), SETTING.metric, K)
    right = shares.argmax(axis=1) == codes[spoof & test]
    n_classes = len(set(held[spoof]))
    return {
        "rule": REFERENCE,
        "method": VOTE,
        "n_classes": n_classes,
        "n": len(right),
        "top1": float(right.mean()),
        "note": NOTE,
    }


def reference_novelty(vectors: Vectors, is_bonafide: Mask, held: NDArray[np.object_]) -> Iterator[dict[str, Any]]:
    """Yield the row of novelty.csv of each group: 1 - the largest cosine to training rows without it, against test rows of other attacks."""
    test = reference_test_rows(is_bonafide, held, 0)
    for group in sorted(set(held[held != ""])):
        own, others = held == group, ~is_bonafide & test & (held != group)
        index = SETTING.build()
        known = np.flatnonzero(~test & ~own)
        index.add(known, vectors[known])
        novel, usual = (1 - index.search(vectors[rows], 1).similarities[:, 0] for rows in (own, others))
        row = {
            "method": REFERENCE,
            "held": group,
            "n_novel": len(novel),
            "n_known": len(usual),
            "disjoint": "nothing",
            "note": NOTE,
        }
        yield row | {"auc_known": auc(-usual, -novel), "median_novel": float(np.median(novel))}
