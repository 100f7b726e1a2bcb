"""`arl encode`: a text in the checkpoint's own template, as token ids. Left out: voices, and recordings."""

from collections.abc import Iterable, Iterator

from arl.errors import ArlError
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Meta, Prompt

VOICE = "none"  # the name of no voice: the LM takes whichever it likes


class TextEncoding:
    """An `Encoder` (arl/models/)."""

    def __init__(self, policy: Policy) -> None:
        self.tokenizer, self.longest = load_tokenizer(policy.llm_dir), policy.given("longest")
        self.before, self.after = policy.given("prompt_template").split("{text}")

    def read(self, samples: Iterable[Sample]) -> list[Sample]:
        return list(samples)

    def encode(
        self, shard: list[Sample], batch_s: float, budget: FailureBudget
    ) -> Iterator[tuple[str, dict[str, bytes], float]]:
        for sample in shard:
            try:
                row = self.prompt(sample)
            except ArlError as error:
                budget.spend(f"{sample.where}: {error}")
                row = Prompt.failed(str(error))
            yield sample.key, row.members(), 0.0

    def prompt(self, sample: Sample) -> Prompt:
        """The row of a text. ArlError where there is none, or it is longer than a response may be."""
        fields = sample.json(columns.META)
        for problem in Meta.problems(fields):
            raise ArlError(f"{columns.META}: {problem}")
        text = Meta.read(fields).text.strip()
        if not text:
            raise ArlError("the text is empty")
        ids = self.tokenizer.encode(self.before + text + self.after, add_special_tokens=False).ids
        if len(ids) >= self.longest:
            raise ArlError(
                f"its prompt has {len(ids)} tokens, and the model's longest is {self.longest} with the speech"
            )
        return Prompt(ids, self.longest - len(ids), VOICE)

    def sleep(self) -> None:
        """Nothing is on the device."""
