"""Lists of pairs and of searches: made, drawn, and arranged so that their order decides nothing."""

from lrfr.eval.pairs.arranged import Arranged, arranged
from lrfr.eval.pairs.drawn import draw_distinct, draw_two, groups_of, synthetic_pairs
from lrfr.eval.pairs.pair_list import PairList, agrees, numbered, pair_list
from lrfr.eval.pairs.search_list import Searched, SearchList, arranged_search

__all__ = [
    "Arranged",
    "PairList",
    "SearchList",
    "Searched",
    "agrees",
    "arranged",
    "arranged_search",
    "draw_distinct",
    "draw_two",
    "groups_of",
    "numbered",
    "pair_list",
    "synthetic_pairs",
]
