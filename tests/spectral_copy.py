"""The spectral embedder under a name of its own, trained on what it is tested on."""

import dataclasses

from spoofscope.embedders import card_of, embedder
from spoofscope.embedders.spectral import SpectralStatistics

CARD = dataclasses.replace(card_of("spectral"), name="spectral_copy", trained_on=("table/all",))


@embedder(CARD)
class SpectralCopy(SpectralStatistics):
    card = CARD
