"""How much device memory an update needs, by the formulas of arl/planning/: what benchmarks/PERFORMANCE.md tabulates.

python -m benchmarks.memory            # the tables for 0.5B and 7B on 1, 2 and 8 GPUs
"""

from arl.planning.memory import GB, Setup, activations, parts_gb, total_gb
from benchmarks.command import table
from benchmarks.models import QWEN2_05B, QWEN2_7B


def page() -> str:
    """The tables of the performance page."""
    tables = []
    for shape in (QWEN2_05B, QWEN2_7B):
        rows = []
        for gpus in (1, 2, 8):
            for offload in (False, True):
                setup = Setup(gpus=gpus, offload=offload, checkpointing=True)
                parts = parts_gb(shape, setup)
                more = activations(shape, Setup(gpus=gpus)) / GB - parts["activations"]
                shown = [f"{value:.1f}" for value in parts.values()]
                rows.append([f"{gpus}{', --offload' if offload else ''}", *shown[:-1],
                             f"**{total_gb(parts):.0f}**", f"+{more:.0f}", f"{parts['host']:.0f}"])  # fmt: skip
        names = list(parts_gb(shape, Setup()))[:-1]
        head = ["GPUs", *names, "each GPU", "without --checkpointing", "host, all"]
        tables.append(f"{shape.name}: {shape.words()}. GB.\n\n{table(head, rows)}")
    return "\n\n".join(tables)


if __name__ == "__main__":
    print(page())
