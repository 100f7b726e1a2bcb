"""CosyVoice2-0.5B from the folder as it is downloaded (arXiv 2412.10117)."""

from typing import TYPE_CHECKING

from arl.models import Family
from arl.models.cosyvoice.family import CosyVoice
from arl.models.cosyvoice.layout import VERSION_2

if TYPE_CHECKING:
    from arl.models.cosyvoice.decode import Decoding


class CosyVoice2(CosyVoice):
    name, takes, layout = "cosyvoice2", "CosyVoice2", VERSION_2

    @property
    def decoding(self) -> "Decoding":
        from arl.models.cosyvoice2.decode import DECODING

        return DECODING


FAMILY: Family = CosyVoice2()
