"""Fun-CosyVoice3-0.5B from the folder as it is downloaded (arXiv 2505.17589)."""

from typing import TYPE_CHECKING

from arl.models import Family
from arl.models.cosyvoice.family import CosyVoice
from arl.models.cosyvoice.layout import VERSION_3

if TYPE_CHECKING:
    from arl.models.cosyvoice.decode import Decoding


class CosyVoice3(CosyVoice):
    name, takes, layout = "cosyvoice3", "CosyVoice3", VERSION_3

    @property
    def decoding(self) -> "Decoding":
        from arl.models.cosyvoice3.decode import DECODING

        return DECODING


FAMILY: Family = CosyVoice3()
