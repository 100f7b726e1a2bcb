# 1 when the hypothesis is the reference, else 0. Case is ignored in ASCII letters, spaces at the ends everywhere.
def plain: ascii_downcase | gsub("^\\s+|\\s+$"; "");
(.ref | plain) as $ref | {key, rewards: [.hyps[] | if (.text | plain) == $ref then 1 else 0 end]}
