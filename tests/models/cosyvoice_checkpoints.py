"""Tiny random folders of CosyVoice2 and 3 with the names, types and layout of the ones that are downloaded.

    folder = make_cosyvoice(tmp_path / "CosyVoice2", version=2)

Widths and layers are small; the speech vocabulary, the names of files and tensors and the recipe's tags are real.
"""

import json
from pathlib import Path
from typing import Any

CODES, WIDTH, SPEAKER = 6561, 64, 192
ROWS = {2: 3, 3: 200}
VOICES = {"ann": ("hello there", 6), "bob": ("", 0)}  # a prompt with codes; a speaker vector alone
QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": WIDTH, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 1024, "vocab_size": 640,
        "tie_word_embeddings": True, "sliding_window": 1024, "use_sliding_window": False}  # fmt: skip
RECIPE = """\
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
llm_input_size: 64
spk_embed_dim: 192
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 25 # streaming inference chunk size, in token
llm: !new:cosyvoice.llm.llm.{llm}
    llm_input_size: !ref <llm_input_size>
    speech_token_size: 6561
    mix_ratio: [5, 15]
    llm: !new:cosyvoice.llm.llm.Qwen2Encoder
        pretrain_path: ''
    sampling: !name:cosyvoice.utils.common.ras_sampling
        top_p: 0.8
{flow}hift: !new:cosyvoice.hifigan.generator.{causal}HiFTGenerator
    in_channels: 80
    base_channels: {hift}
    nb_harmonics: 8
    sampling_rate: !ref <sample_rate>
    nsf_alpha: 0.1
    nsf_sigma: 0.003
    nsf_voiced_threshold: 10
    upsample_rates: [8, 5, 3]
    upsample_kernel_sizes: [16, 11, 7]
    istft_params:
        n_fft: 16
        hop_len: 4
    resblock_kernel_sizes: [3, 7, 11]
    resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    source_resblock_kernel_sizes: [7, 7, 11]
    source_resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    lrelu_slope: 0.1
    audio_limit: 0.99{ahead}
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.{causal}ConvRNNF0Predictor
        num_class: 1
        in_channels: 80
        cond_channels: {hift}
hifigan: !new:cosyvoice.hifigan.hifigan.HiFiGan
    generator: !ref <hift>
    mel_spec_transform: [
        !ref <chunk_size>
    ]
"""
CFM = """\
    decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
        in_channels: 240
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                t_scheduler: 'cosine'
                inference_cfg_rate: 0.7
"""  # both versions'
FLOWS = {
    2: """\
flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
    input_size: {flow_width}
    output_size: 80
    spk_embed_dim: !ref <spk_embed_dim>
    vocab_size: 6561
    input_frame_rate: !ref <token_frame_rate>
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    encoder: !new:cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder
        output_size: {flow_width}
        attention_heads: 2
        linear_units: 48
        num_blocks: 1
        input_size: {flow_width}
        static_chunk_size: !ref <chunk_size>
"""
    + CFM
    + """\
        estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
            in_channels: 320
            out_channels: 80
            channels: [{channels}]
            attention_head_dim: 8
            n_blocks: 1
            num_mid_blocks: 2
            num_heads: 2
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
""",
    3: """\
flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithDiT
    input_size: 80
    output_size: 80
    spk_embed_dim: !ref <spk_embed_dim>
    vocab_size: 6561
    input_frame_rate: !ref <token_frame_rate>
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    pre_lookahead_layer: !new:cosyvoice.transformer.upsample_encoder.PreLookaheadLayer
        in_channels: 80
        channels: {flow_width}
        pre_lookahead_len: 3
"""
    + CFM
    + """\
        estimator: !new:cosyvoice.flow.DiT.dit.DiT
            dim: {channels}
            depth: 2
            heads: 2
            dim_head: 8
            ff_mult: 2
            mel_dim: 80
            mu_dim: 80
            spk_dim: 80
            out_channels: 80
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
            num_decoding_left_chunks: -1
""",
}
LLM_CLASS = {2: "Qwen2LM", 3: "CosyVoice3LM"}


def recipe(version: int, flow_width: int = 32, channels: int = 16, hift: int = 32) -> str:
    """The text of the version's yaml. channels: of the velocities' network."""
    causal, ahead = ("Causal", "\n    conv_pre_look_right: 4") if version == 3 else ("", "")
    sizes = {"flow_width": flow_width, "channels": channels}
    flow, llm = FLOWS[version].format(**sizes), LLM_CLASS[version]
    return RECIPE.format(llm=llm, flow=flow, causal=causal, ahead=ahead, hift=hift)


def make_cosyvoice(folder: Path, version: int = 2, seed: int = 0) -> Path:
    """Writes the folder; the LM's head is enlarged so that responses differ."""
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    yaml = folder / f"cosyvoice{version}.yaml"
    yaml.write_text(recipe(version))
    write_blank(folder / "CosyVoice-BlankEN")
    torch.save(llm_tensors(version), folder / "llm.pt")
    for name, tensors in zip(("flow.pt", "hift.pt"), decoder_tensors(yaml, version), strict=True):
        torch.save(tensors, folder / name)
    torch.save(speakers(), folder / "spk2info.pt")
    return folder


def write_blank(folder: Path) -> None:
    """CosyVoice-BlankEN with vocab.json and merges.txt, and no tokenizer.json."""
    from tokenizers import pre_tokenizers

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN))
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "th"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nh e\nt h\n")


def llm_tensors(version: int) -> dict[str, Any]:
    """llm.pt: upstream's order, the text head tied."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    rows = CODES + ROWS[version]
    llm = Qwen2ForCausalLM(Qwen2Config(**{name: value for name, value in QWEN.items() if name != "architectures"}))
    tensors = {f"llm.model.{name}": tensor * (1 if "norm" in name else 4) for name, tensor in llm.state_dict().items()}
    tensors["llm.model.lm_head.weight"] = tensors["llm.model.model.embed_tokens.weight"]
    marks = {"llm_embedding.weight": 0.1 * torch.randn(2, WIDTH)} if version == 2 else {}
    own = {"llm_decoder.weight": 0.2 * torch.randn(rows, WIDTH)}
    if version == 2:
        own["llm_decoder.bias"] = torch.randn(rows)
        own["llm_decoder.bias"][CODES:] += 8  # so that responses end
    return {**marks, **tensors, **own, "speech_embedding.weight": 0.1 * torch.randn(rows, WIDTH)}


def decoder_tensors(yaml: Path, version: int) -> list[dict[str, Any]]:
    """flow.pt and hift.pt of the recipe's sizes; the pitch is one that is voiced."""
    import torch

    from arl.models.cosyvoice2.decode import DECODING as SECOND
    from arl.models.cosyvoice3.decode import DECODING as THIRD

    found = []
    for part in (SECOND if version == 2 else THIRD).parts(yaml):
        shapes = {name: tensor.shape for name, tensor in part.state_dict().items()}
        found.append({name: torch.randn(shape) / max(1, shape[1:].numel()) ** 0.5 for name, shape in shapes.items()})
    for name, tensor in found[1].items():  # norms of weights: so that the wave is not cut off
        if name.endswith("original0"):
            tensor.fill_(0.02 if name.startswith("conv_post") else 1.0)
    found[1]["f0_predictor.classifier.bias"] += 150
    return [found[0], {f"generator.{name}": tensor for name, tensor in found[1].items()}]


def speakers() -> dict[str, Any]:
    """spk2info.pt as upstream's `save_spkinfo` writes it, and as its trained speakers are."""
    import torch

    codes, speaker = torch.randint(0, CODES, (1, 6), dtype=torch.int32), torch.randn(1, SPEAKER)
    mel, text = torch.randn(1, 12, 80), torch.tensor([[71, 256, 75, 75, 78]], dtype=torch.int32)
    ann = {
        "prompt_text": text, "prompt_text_len": torch.tensor([5], dtype=torch.int32),
        "llm_prompt_speech_token": codes, "llm_prompt_speech_token_len": torch.tensor([6], dtype=torch.int32),
        "flow_prompt_speech_token": codes, "flow_prompt_speech_token_len": torch.tensor([6], dtype=torch.int32),
        "prompt_speech_feat": mel, "prompt_speech_feat_len": torch.tensor([12], dtype=torch.int32),
        "llm_embedding": speaker, "flow_embedding": speaker,
    }  # fmt: skip
    return {"ann": ann, "bob": {"embedding": torch.randn(1, SPEAKER)}}
