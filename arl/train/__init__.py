"""The trainer of `arl update`: rollouts and rewards, or transcripts, and a policy → the next policy.

settings, checks, update, job     what is asked for, what is refused, what is done
run, steps, step, learner         one update, its optimizer steps, the passes of one step, what is held in memory
world, parallel                   the processes that share one update
data, groups                      shards → groups → micro-batches
shared_prefix, packing, attention, logprobs, decoder   one pass over a micro-batch, each prompt once
lora                              adapters in place of all weights
acoustic, projector               what losses on acoustic tokens and supervised training need beside that
optimizer, schedule, checkpoint, weights, offload, load, probe

Shape letters, here and in the whole tree:

B  batch (groups, or whatever is batched)     H  hidden width
G  hypotheses of a group                      V  vocabulary
P  prompt positions                           C  codes of a codebook
R  response tokens                            N  response tokens of a micro-batch in a row, one after the other
T  frames or embeddings                       M  those of the N that are acoustic tokens

and inside attention: L positions of a row, D width of one attention head, S positions of the longest response that is
padded with others. [p] is a prompt's token ids, one placeholder for each audio clip; [P] has the clip's T embeddings
in its place.
"""
