"""The decoder of Qwen3-TTS's 12 Hz codec: frames of codes → a wave. Layers are Qwen3-Omni's, as transformers has them.

    codebooks (one, then the other 15) → convolution → transformer with a sliding window → two up-samplings → four more

All of it looks back only, so that a clip padded at its end is what it is alone. Names of the parameters are those of
speech_tokenizer/model.safetensors behind `decoder.`. Left out: the encoder, which is Mimi's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as omni
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig

from arl.models.weights import fill as filled
from arl.models.weights import made_of, read_weights

DECODER = "decoder."
CHUNK, CONTEXT = 300, 25  # frames that are decoded at once, and how many before them are decoded with them, as upstream
LEAST_USE = 1e-5


class Codebook(nn.Module):
    """Vectors as running sums: embedding_sum [C, D] over cluster_usage [C]."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.cluster_usage = nn.Parameter(torch.ones(size))
        self.embedding_sum = nn.Parameter(torch.zeros(size, width))

    def forward(self, codes: Tensor) -> Tensor:
        """[B, T] → [B, T, D]."""
        return F.embedding(codes, self.embedding_sum / self.cluster_usage.clamp(min=LEAST_USE)[:, None])


class Quantizer(nn.Module):
    """The sum of some codebooks, projected."""

    def __init__(self, n: int, size: int, width: int, out: int) -> None:
        super().__init__()
        self.vq = nn.Module()
        layers = [nn.Module() for _ in range(n)]
        for layer in layers:
            layer._codebook = Codebook(size, width)
        self.vq.layers = nn.ModuleList(layers)
        self.output_proj = nn.Conv1d(width, out, 1, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """[B, n, T] → [B, out, T]."""
        layers: Any = self.vq.layers
        vectors = sum(layer._codebook(codes[:, i]) for i, layer in enumerate(layers))
        return self.output_proj(vectors.transpose(1, 2))


class Upsample(nn.Module):
    """A transposed convolution that looks back only."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inside, out, kernel, stride=stride)
        self.extra = kernel - stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, inside, T] → [B, out, T * stride]."""
        made = self.conv(x)
        return made[..., : made.shape[-1] - self.extra]


class Block(nn.Module):
    """An up-sampling and three residual units of growing dilation."""

    def __init__(self, inside: int, out: int, rate: int) -> None:
        super().__init__()
        units = [omni.Qwen3OmniMoeCode2WavDecoderResidualUnit(out, dilation) for dilation in (1, 3, 9)]
        self.block = nn.Sequential(omni.Qwen3OmniMoeSnakeBeta(inside), Upsample(inside, out, 2 * rate, rate), *units)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class CodecDecoder(nn.Module):
    """fields: `decoder_config` of the codec's config.json."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__()
        own = {name: value for name, value in fields.items() if name not in ("model_type", "rope_theta")}
        rope = {"rope_type": "default", "rope_theta": float(fields.get("rope_theta", 10_000))}
        config = Qwen3OmniMoeCode2WavConfig(**own | {"rope_parameters": rope})
        latent, width, books = fields["latent_dim"], fields["codebook_dim"], fields["num_quantizers"]
        sizes = fields["codebook_size"], width // 2, width
        self.n_books, self.quantizer = books, nn.Module()
        self.quantizer.rvq_first, self.quantizer.rvq_rest = Quantizer(1, *sizes), Quantizer(books - 1, *sizes)
        self.pre_conv = omni.Qwen3OmniMoeCausalConvNet(width, latent, 3)
        self.pre_transformer = omni.Qwen3OmniMoeCode2WavTransformerModel._from_config(config)
        self.pre_transformer.input_proj = nn.Linear(latent, config.hidden_size)
        self.pre_transformer.output_proj = nn.Linear(config.hidden_size, latent)
        self.upsample = nn.Sequential(*(
            nn.Sequential(Upsample(latent, latent, rate, rate), omni.Qwen3OmniMoeConvNeXtBlock(latent))
            for rate in config.upsampling_ratios
        ))  # fmt: skip
        widths = [config.decoder_dim // 2**i for i in range(len(config.upsample_rates) + 1)]
        blocks = [Block(widths[i], widths[i + 1], rate) for i, rate in enumerate(config.upsample_rates)]
        convolution, snake = omni.Qwen3OmniMoeCausalConvNet, omni.Qwen3OmniMoeSnakeBeta
        last = snake(widths[-1]), convolution(widths[-1], 1, 7)
        self.decoder = nn.Sequential(convolution(latent, widths[0], 7), *blocks, *last)
        self.rate = int(torch.tensor([*config.upsample_rates, *config.upsampling_ratios]).prod())

    def forward(self, codes: Tensor) -> Tensor:
        """int64 [B, T, K] → waves float32 [B, T * rate]."""
        codes, waves = codes.transpose(1, 2), []
        for start in range(0, codes.shape[-1], CHUNK):
            context = CONTEXT if start > CONTEXT else start
            waves.append(self.chunk(codes[..., start - context : start + CHUNK])[:, context * self.rate :])
        return torch.cat(waves, 1)

    def chunk(self, codes: Tensor) -> Tensor:
        """[B, K, T] → [B, T * rate]."""
        quantizer: Any = self.quantizer
        vectors = quantizer.rvq_first(codes[:, :1]) + quantizer.rvq_rest(codes[:, 1:])
        layers: Any = self.pre_transformer
        states = layers(inputs_embeds=layers.input_proj(self.pre_conv(vectors).transpose(1, 2))).last_hidden_state
        made = self.decoder(self.upsample(layers.output_proj(states).transpose(1, 2)))
        return made.clamp(-1, 1).squeeze(1)


def load_decoder(folder: Path) -> CodecDecoder:
    """The decoder of a codec's folder, frozen. ArlError where a tensor is missing, too many or of another shape."""
    config, file = folder / "config.json", folder / "model.safetensors"
    model = made_of(config, "a codec's sizes", lambda fields: CodecDecoder(fields["decoder_config"]))
    own = {n.removeprefix(DECODER): t for n, t in read_weights(file).items() if n.startswith(DECODER)}
    encoding = ".input_proj.weight"  # of the quantizers, for the encoder
    kept = {n: t.float() for n, t in own.items() if not (n.startswith("quantizer.") and n.endswith(encoding))}
    filled(model, kept, file, config)
    return model.requires_grad_(False).eval()
