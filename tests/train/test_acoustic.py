"""DiffRO and its combination with GRPO in a step, through a decoder in float64: equal to the per-row computation for
any micro-batch; and a toy in which the reward rises."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from arl.losses.acoustic import Codebook
from arl.losses.combined import Combined
from arl.losses.dapo import Dapo
from arl.losses.diffro import Diffro
from arl.losses.grpo import Grpo
from arl.losses.gumbel import conditioned, draw
from arl.losses.heads import WeightedHead
from arl.losses.registry import losses_on
from arl.models.token_asr.model import TokenAsr
from arl.models.token_asr.train import Recipe, train_token_asr
from arl.rewards.advantages import advantages
from arl.train.acoustic import seed_of
from arl.train.attention import use_shared_attention
from arl.train.groups import PromptGroup
from arl.train.step import Compute, policy_backward, sft_backward
from tests import tiny_speech
from tests.tiny_speech import CODES, speak
from tests.train.exact import AUDIO, float64_layers, gradients, largest_difference, make_decoder

BOOK = Codebook(first=10, size=CODES, stops=(2, 7))  # of 40 tokens: 5 … 9 and 37 … 39 are strays
TEMPERATURE = 0.8
BUDGETS = (1, 60, 10_000)


@pytest.fixture
def in_float64() -> Iterator[None]:
    with float64_layers():
        yield


def make_groups() -> list[PromptGroup]:
    """Ragged, with strays within the speech, a hypothesis without a code and one too short for its text."""
    rng, groups = random.Random(3), []
    for seed, size in enumerate((3, 1, 4, 2)):
        text = ["ab", "ba", "cab", "b"][seed]
        responses = [[rng.randrange(10, 37) for _ in range(rng.randint(3, 7))] for _ in range(size)]
        responses = [tokens + [2] if rng.random() < 0.7 else tokens for tokens in responses]
        if seed == 0:
            responses[1][1:1] = [7, 39]
        if seed == 2:
            responses[0], responses[3] = [2], [12, 2]
        groups.append(
            PromptGroup(
                key=f"utt-{seed}",
                prompt=torch.tensor([rng.randrange(5, 40) for _ in range(rng.randint(1, 4))]),
                clips=[],
                responses=[torch.tensor(tokens) for tokens in responses],
                advantages=[rng.gauss(0, 1) for _ in range(size)],
                text=text,
            )
        )
    return groups


def make_head() -> list[WeightedHead]:
    torch.manual_seed(2)
    asr = TokenAsr(CODES, width=16, heads=2, layers=1).double().requires_grad_(False).eval()
    return [WeightedHead("token_asr", asr)]


def make(name: str, gumbel: str = "sampled", base: Any = Grpo) -> Any:
    diffro = Diffro(make_head(), BOOK, beta=0.3, tau=0.9, gumbel=gumbel)
    return diffro if name == "diffro" else Combined(base(beta=0.2), diffro, weight=0.6)


# ---- the formula, row by row ----------------------------------------------------------------------------------------


def logits_of(model: Any, group: PromptGroup, response: Tensor) -> Tensor:
    """Of the response's positions [R, V], the row alone, at the rollout's temperature."""
    row = torch.cat([group.prompt, response[:-1]])[None]
    return model(input_ids=row, use_cache=False).logits[0, len(group.prompt) - 1 :] / TEMPERATURE


def literal_diffro(model: Any, reference: Any, groups: list[PromptGroup], gumbel: str, noise: str, better: bool) -> Any:
    """(mean R, mean KL over groups, hypotheses and codes, mean stop probability) by loops over hypotheses."""
    asr = make_head()[0].head
    rewards, kls, stops = [], [], []
    for group in groups:
        inner_kl, inner_stop = [], []
        for place, response in enumerate(group.responses):
            logits = logits_of(model, group, response)
            with torch.no_grad():
                anchor = logits_of(reference, group, response)
            inner_stop.append(logits.softmax(-1)[:, list(BOOK.stops)].sum(-1).mean())
            spoken = [t for t, token in enumerate(response.tolist()) if 10 <= token < 37]
            codes = response[spoken] - 10
            log_p, log_q = (x[spoken, 10:37].log_softmax(-1) for x in (logits, anchor))
            inner_kl.append(F.kl_div(log_q, log_p, log_target=True, reduction="sum") / max(1, len(spoken)))
            if better and group.advantages[place] <= 0 or not asr.fits(len(spoken), group.text):
                continue
            drawn = draw([len(spoken)], [seed_of(f"{noise}/{group.key}/{place}")], log_p.detach())
            g = conditioned(log_p.detach(), codes, drawn) if gumbel == "sampled" else drawn[:, 1:]
            soft = ((log_p + g) / 0.9).softmax(-1)
            onehots = F.one_hot(soft.argmax(-1), CODES) + soft - soft.detach()
            rewards.append(asr.rewards(onehots[None], torch.tensor([len(spoken)]), [group.text])[0])
        kls.append(torch.stack(inner_kl).mean())
        stops.append(torch.stack(inner_stop).mean())
    return torch.stack(rewards).mean(), torch.stack(kls).mean(), torch.stack(stops).mean(), len(rewards)


@pytest.mark.parametrize("gumbel", ["sampled", "fresh"])
def test_diffro_is_its_formula_row_by_row_for_any_micro_batch(in_float64, gumbel):
    model, reference, groups = make_decoder(seed=0), make_decoder(seed=1), make_groups()
    reward, kl, stop, n = literal_diffro(model, reference, groups, gumbel, "5/7", better=False)
    (0.3 * kl - reward).backward()
    slope = gradients(model)
    for budget in BUDGETS:
        compute = Compute(AUDIO, token_budget=budget, chunk=5, temperature=TEMPERATURE)
        metrics = policy_backward(model, groups, make("diffro", gumbel), reference, compute, noise="5/7")
        assert largest_difference(gradients(model), slope) < 1e-9
        assert metrics["loss"] == pytest.approx(float((0.3 * kl - reward).detach()), rel=1e-10)
        assert metrics["diffro_reward"] == pytest.approx(float(reward.detach()), rel=1e-10)
        assert metrics["kl_codes"] == pytest.approx(float(kl.detach()), rel=1e-10)
        assert metrics["stop"] == pytest.approx(float(stop.detach()), rel=1e-10)
        assert metrics["diffro_share"] == pytest.approx(n / 10) and n == 8


@pytest.mark.parametrize("base", [Grpo, Dapo])
def test_combined_is_the_base_and_diffro_on_the_better_ones(in_float64, base):
    model, reference, groups = make_decoder(seed=0), make_decoder(seed=1), make_groups()
    compute = Compute(AUDIO, token_budget=60, temperature=TEMPERATURE)
    alone = policy_backward(model, groups, base(beta=0.2), reference, compute)
    alone_slope = gradients(model)
    reward, _, _, n = literal_diffro(model, reference, groups, "sampled", "5/7", better=True)
    (-0.6 * reward).backward()
    slope = {name: alone_slope[name] + extra for name, extra in gradients(model).items()}
    for budget in BUDGETS:
        compute = Compute(AUDIO, token_budget=budget, temperature=TEMPERATURE)
        metrics = policy_backward(model, groups, make("combined", base=base), reference, compute, noise="5/7")
        assert largest_difference(gradients(model), slope) < 1e-9
        assert metrics["loss"] == pytest.approx(alone["loss"] - 0.6 * float(reward.detach()), rel=1e-10)
        assert metrics["kl"] == pytest.approx(alone["kl"]) and metrics["diffro_share"] == pytest.approx(n / 10)
        assert 0 < n < 8


@pytest.mark.parametrize("name", losses_on("acoustic rollouts"))
@pytest.mark.parametrize("flags", [{"offload": True}, {"checkpointing": True}])
def test_how_it_is_computed_changes_nothing(in_float64, name, flags):
    model, reference, groups = make_decoder(seed=0), make_decoder(seed=1), make_groups()
    plain = policy_backward(model, groups, make(name), reference, Compute(AUDIO, token_budget=60))
    expected = gradients(model)
    found = policy_backward(model, groups, make(name), reference, Compute(AUDIO, **{"token_budget": 60, **flags}))
    assert found == pytest.approx(plain, rel=1e-12) and largest_difference(gradients(model), expected) < 1e-12


def test_another_step_draws_other_noise_and_grpo_none(in_float64):
    model, groups = make_decoder(), make_groups()
    found = []
    for noise in ("5/7", "5/7", "5/8", "6/7"):
        policy_backward(model, groups, make("diffro"), None, Compute(AUDIO), noise=noise)
        found.append(gradients(model)["model.norm.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]) and not torch.equal(found[0], found[3])


# ---- a toy in which the reward rises --------------------------------------------------------------------------------

SPEECH, STOP, FIRST = 3, 2, 33  # token ids; letters from 5, codes from FIRST
TOY = Codebook(FIRST, CODES, (STOP,))
LETTERS = "abcd"


def toy_prompt(text: str) -> Tensor:
    return torch.tensor([*(5 + LETTERS.index(letter) for letter in text), SPEECH])


def toy_texts(n: int, rng: random.Random) -> list[str]:
    return ["".join(rng.choices(LETTERS, k=3)) for _ in range(n)]


def wrong_codes(codes: list[int], rng: random.Random) -> list[int]:
    return [rng.randrange(2 * len(LETTERS)) if rng.random() < 0.15 else code for code in codes]


def toy_lm() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return use_shared_attention(Qwen2ForCausalLM(Qwen2Config(
        vocab_size=FIRST + CODES, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True,
    ), ).eval())  # fmt: skip


@torch.no_grad()
def toy_rollout(model: Any, texts: list[str], generator: torch.Generator, fixed: int = 0) -> list[Tensor]:
    """One response each, of `fixed` codes if that is given; without a cache, as rows are of equal length."""
    rows = torch.stack([toy_prompt(text) for text in texts])
    start = rows.shape[1]
    for _ in range(fixed or 16):
        logits = model(input_ids=rows, use_cache=False).logits[:, -1]
        logits[:, : FIRST if fixed else 0] = -torch.inf
        rows = torch.cat([rows, torch.multinomial(logits.softmax(-1), 1, generator=generator)], 1)
    found = []
    for row in rows[:, start:]:
        stops = (row == STOP).nonzero()
        found.append(row[: int(stops[0]) + 1] if len(stops) else row)
    return found


def toy_scores(model: Any, asr: TokenAsr) -> tuple[float, float]:
    """(the recogniser's CER, and that of who knows the language) of fresh samples."""
    from rapidfuzz.distance import Levenshtein

    texts = toy_texts(96, random.Random(99))
    responses = toy_rollout(model, texts, torch.Generator().manual_seed(99))
    codes = [(response[TOY.is_code(response)] - FIRST).tolist() for response in responses]
    n = sum(map(len, texts))
    read = sum(Levenshtein.distance(t, r) for t, r in zip(texts, asr.transcribe(codes), strict=True)) / n
    heard = sum(Levenshtein.distance(t, tiny_speech.heard(c)) for t, c in zip(texts, codes, strict=True)) / n
    return read, heard


@pytest.fixture(scope="module")
def toy() -> tuple[Any, TokenAsr]:
    """(an LM that learned from speech with wrong codes, a recogniser)."""
    rng = random.Random(0)
    clean = [(speak(text, rng), text) for text in toy_texts(160, rng)]
    asr = train_token_asr(clean, CODES, Recipe(300, 5e-3, 16, 0.1), width=32, heads=2, layers=1)
    model = toy_lm()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 250)
        texts = toy_texts(24, rng)
        spoken = [torch.tensor([FIRST + c for c in wrong_codes(speak(t, rng), rng)] + [STOP]) for t in texts]
        groups = [
            PromptGroup(str(i), toy_prompt(t), [], [s], [0.0])
            for i, (t, s) in enumerate(zip(texts, spoken, strict=True))
        ]
        sft_backward(model, groups, Compute(AUDIO, token_budget=10_000), lambda micro: (micro, None))
        optimizer.step()
        optimizer.zero_grad()
    return model, asr


def toy_steps(base: Any, loss: Any, steps: int, fixed: int = 0) -> tuple[Any, list[dict[str, float]]]:
    """Rollouts of 12 texts with 4 samples each, rewarded by who knows the language, and an update; on-policy."""
    from rapidfuzz.distance import Levenshtein

    rng, generator = random.Random(7), torch.Generator().manual_seed(1)
    model, reference = (use_shared_attention(copy.deepcopy(base)) for _ in range(2))
    optimizer, logged = torch.optim.AdamW(model.parameters(), 5e-4, weight_decay=0.0), []
    for step in range(steps):
        texts = toy_texts(12, rng)
        responses = toy_rollout(model, [text for text in texts for _ in range(4)], generator, fixed)
        groups = []
        for i, text in enumerate(texts):
            own = responses[4 * i : 4 * i + 4]
            heard = [tiny_speech.heard((tokens[TOY.is_code(tokens)] - FIRST).tolist()) for tokens in own]
            values = advantages([-float(Levenshtein.distance(text, words)) for words in heard])
            groups.append(PromptGroup(str(i), toy_prompt(text), [], own, [v or 0.0 for v in values], text=text))
        compute = Compute(AUDIO, token_budget=10_000)
        logged.append(policy_backward(model, groups, loss, reference, compute, noise=f"0/{step}"))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model, logged


@pytest.mark.slow
@pytest.mark.parametrize("gumbel", ["sampled", "fresh"])
def test_diffro_raises_its_reward_where_the_length_is_given(toy, gumbel):
    """It has no gradient for the stop token."""
    base, asr = toy
    _, logged = toy_steps(base, Diffro([WeightedHead("token_asr", asr)], TOY, gumbel=gumbel), steps=30, fixed=8)
    means = [sum(metrics["diffro_reward"] for metrics in part) / 10 for part in (logged[:10], logged[-10:])]
    assert means[1] > means[0] + 0.05
    assert logged[-1]["kl_codes"] > 0.01 and all(metrics["diffro_share"] == 1 for metrics in logged)


@pytest.mark.slow
def test_the_combination_speaks_more_clearly_to_a_listener_that_diffro_does_not_know(toy):
    base, asr = toy
    before = toy_scores(base, asr)
    model, logged = toy_steps(base, Combined(Grpo(), Diffro([WeightedHead("token_asr", asr)], TOY)), steps=30)
    after = toy_scores(model, asr)
    assert after[0] < 0.95 * before[0] and after[1] < 0.95 * before[1]
    means = [sum(metrics["diffro_reward"] for metrics in part) / 10 for part in (logged[:10], logged[-10:])]
    assert means[1] > means[0] + 0.05
    assert all(0.2 < metrics["diffro_share"] < 0.8 for metrics in logged)
