"""BibTeX of the methods that are implemented here, by keys."""

from collections.abc import Iterable

# Fields in their order; "kind" is that of the entry.
_ENTRIES: dict[str, dict[str, str]] = {
    "tnjax": {
        "kind": "software",
        "author": "{tnjax developers}",
        "title": "tnjax: learning tensor networks from data in JAX",
    },
    "hashemizadeh2020": {
        "kind": "article",
        "author": "Hashemizadeh, Meraj and Liu, Michelle and Miller, Jacob and "
        "Rabusseau, Guillaume",
        "title": "Adaptive Learning of Tensor Network Structures",
        "journal": "arXiv:2008.05437",
        "year": "2020",
    },
    "evci2022": {
        "kind": "inproceedings",
        "author": 'Evci, Utku and van Merri{\\"e}nboer, Bart and Unterthiner, Thomas and '
        "Pedregosa, Fabian and Vladymyrov, Max",
        "title": "{GradMax}: Growing Neural Networks using Gradient Information",
        "booktitle": "International Conference on Learning Representations",
        "year": "2022",
        "note": "arXiv:2201.05125",
    },
    "li2020": {
        "kind": "inproceedings",
        "author": "Li, Chao and Sun, Zhun",
        "title": "Evolutionary Topology Search for Tensor Network Decomposition",
        "booktitle": "International Conference on Machine Learning",
        "year": "2020",
    },
    "li2022": {
        "kind": "inproceedings",
        "author": "Li, Chao and Zeng, Junhua and Tao, Zerui and Zhao, Qibin",
        "title": "Permutation Search of Tensor Network Structures via Local Sampling",
        "booktitle": "International Conference on Machine Learning",
        "year": "2022",
        "note": "arXiv:2206.06597",
    },
    "li2023": {
        "kind": "inproceedings",
        "author": "Li, Chao and Zeng, Junhua and Li, Chunmei and Caiafa, Cesar and Zhao, Qibin",
        "title": "Alternating Local Enumeration ({TnALE}): Solving Tensor Network Structure Search "
        "with Fewer Evaluations",
        "booktitle": "International Conference on Machine Learning",
        "year": "2023",
        "note": "arXiv:2304.12875",
    },
    "zheng2024": {
        "kind": "inproceedings",
        "author": "Zheng, Yu-Bang and Zhao, Xi-Le and Zeng, Junhua and Li, Chao and Zhao, Qibin "
        "and Li, Heng-Chao and Huang, Ting-Zhu",
        "title": "{SVDinsTN}: A Tensor Network Paradigm for Efficient Structure Search from "
        "Regularized Modeling Perspective",
        "booktitle": "Conference on Computer Vision and Pattern Recognition",
        "year": "2024",
        "note": "arXiv:2305.14912",
    },
    "guo2025": {
        "kind": "article",
        "author": "Guo, Zheng and others",
        "title": "Tensor Network Structure Search with Program Synthesis",
        "journal": "arXiv:2502.02711",
        "year": "2025",
    },
    "oseledets2011": {
        "kind": "article",
        "author": "Oseledets, Ivan V.",
        "title": "Tensor-Train Decomposition",
        "journal": "SIAM Journal on Scientific Computing",
        "volume": "33",
        "number": "5",
        "pages": "2295--2317",
        "year": "2011",
    },
    "zhao2016": {
        "kind": "article",
        "author": "Zhao, Qibin and Zhou, Guoxu and Xie, Shengli and Zhang, Liqing and "
        "Cichocki, Andrzej",
        "title": "Tensor Ring Decomposition",
        "journal": "arXiv:1606.05535",
        "year": "2016",
    },
    "vannieuwenhoven2012": {
        "kind": "article",
        "author": "Vannieuwenhoven, Nick and Vandebril, Raf and Meerbergen, Karl",
        "title": "A New Truncation Strategy for the Higher-Order Singular Value Decomposition",
        "journal": "SIAM Journal on Scientific Computing",
        "volume": "34",
        "number": "2",
        "pages": "A1027--A1052",
        "year": "2012",
    },
    "grasedyck2010": {
        "kind": "article",
        "author": "Grasedyck, Lars",
        "title": "Hierarchical Singular Value Decomposition of Tensors",
        "journal": "SIAM Journal on Matrix Analysis and Applications",
        "volume": "31",
        "number": "4",
        "pages": "2029--2054",
        "year": "2010",
    },
    "kolda2009": {
        "kind": "article",
        "author": "Kolda, Tamara G. and Bader, Brett W.",
        "title": "Tensor Decompositions and Applications",
        "journal": "SIAM Review",
        "volume": "51",
        "number": "3",
        "pages": "455--500",
        "year": "2009",
    },
    "choi2011": {
        "kind": "article",
        "author": "Choi, Myung Jin and Tan, Vincent Y. F. and Anandkumar, Animashree and "
        "Willsky, Alan S.",
        "title": "Learning Latent Tree Graphical Models",
        "journal": "Journal of Machine Learning Research",
        "volume": "12",
        "pages": "1771--1812",
        "year": "2011",
    },
    "han2018": {
        "kind": "article",
        "author": "Han, Zhao-Yu and Wang, Jun and Fan, Heng and Wang, Lei and Zhang, Pan",
        "title": "Unsupervised Generative Modeling Using Matrix Product States",
        "journal": "Physical Review X",
        "volume": "8",
        "pages": "031012",
        "year": "2018",
    },
    "stoudenmire2016": {
        "kind": "inproceedings",
        "author": "Stoudenmire, Edwin and Schwab, David J.",
        "title": "Supervised Learning with Tensor Networks",
        "booktitle": "Advances in Neural Information Processing Systems",
        "year": "2016",
    },
}


def bibtex(keys: Iterable[str], version: str) -> str:
    """The entries of some keys, each once, that of tnjax first.

    Args:
        keys: of the table above; a text that begins with "@" is an entry itself.
        version: of tnjax.

    Raises:
        ValueError: for another key.
    """
    out = [_entry("tnjax", {**_ENTRIES["tnjax"], "version": version})]
    for key in dict.fromkeys(keys):
        if key.startswith("@"):
            out.append(key.strip())
        elif key in _ENTRIES:
            out.append(_entry(key, _ENTRIES[key]))
        else:
            raise ValueError(
                f"unknown reference {key!r}; expected one of {', '.join(_ENTRIES)}, or a BibTeX "
                'entry, which begins with "@".'
            )
    return "\n\n".join(out)


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items() if name != "kind"]
    return "\n".join([f"@{fields['kind']}{{{key},", *lines, "}"])
