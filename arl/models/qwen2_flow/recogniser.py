"""What the speech tokenizer has behind its codes, as a recogniser of acoustic tokens (arl/models/token_asr/)."""

import torch
from torch import nn

from arl.models.qwen2_flow.codec import Codec
from arl.models.token_asr.model import TokenAsr


def token_recogniser(codec: Codec) -> TokenAsr:
    """The recognition head of a speech tokenizer, for codes."""
    config, weights = codec.config, codec.state_dict()
    asr = TokenAsr(codec.fsq.n_codes, config["width"], config["heads"], config["after"])
    with torch.no_grad():
        asr.table.weight.copy_(codec.from_steps(codec.fsq.steps(torch.arange(asr.n_codes))))
        nn.init.zeros_(asr.stem.weight)
        nn.init.zeros_(asr.stem.bias)
    asr.blocks.load_state_dict({name[6:]: w for name, w in weights.items() if name.startswith("after.")})
    asr.ctc.load_state_dict({name[4:]: w for name, w in weights.items() if name.startswith("ctc.")})
    return asr
