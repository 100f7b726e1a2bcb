"""The layer of the small models over acoustic tokens: the speech tokenizer and the token recogniser."""

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """A depthwise convolution, attention and a feed-forward layer, each behind a norm and added; [B, T, W] → same."""

    def __init__(self, width: int, heads: int, kernel: int = 9) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """valid: bool [B, T, 1]."""
        inside = self.norms[0](x) * valid
        x = x + self.dropout(F.gelu(self.conv(inside.transpose(1, 2)).transpose(1, 2)))
        batch, length, width = x.shape
        qkv = self.qkv(self.norms[1](x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv, attn_mask=valid[:, None, None, :, 0])
        x = x + self.dropout(self.out(attended.transpose(1, 2).reshape(batch, length, width)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norms[2](x)))))
