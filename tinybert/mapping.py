"""Which student entry learns from which teacher entry.

Entry 0 is the embedding output, entry m the output of layer m (1-based), so an encoder of L layers has L + 1 entries. The attention
scores that produced entry m are those of layer m, which is index m - 1 among the L score tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.errors import UserError

NAMES = ("uniform", "top", "bottom", "last", "double")


@dataclass(frozen=True)
class LayerMap:
    """Pairs (student, teacher) of entries for hidden states and of 0-based layers for attention scores.

    Source: TinyBERT (Jiao et al. 2020), section 3.1, mapping function g(m); uneven ratios as in "Marginal Utility Diminishes":
    g(m) = round(m * N / S), half to even.
    """

    name: str
    student_layers: int
    teacher_layers: int
    hidden: tuple[tuple[int, int], ...]
    attention: tuple[tuple[int, int], ...]

    @classmethod
    def create(cls, name: str, student_layers: int, teacher_layers: int) -> LayerMap:
        """Build a map from its name or from explicit pairs such as `0:0,1:3,2:6`.

        * `uniform`: evenly spread, g(m) = round(m * N / S);
        * `top`: the last S teacher layers, g(m) = m + N - S;
        * `bottom`: the first S, g(m) = m;
        * `last`: the embedding and the last layer only;
        * `double`: entries 2m and scores 2m + 1 whatever the depths, as PaddleNLP's script has it (right only for 6 of 12).

        Raises:
            UserError: the map reaches outside an encoder, or is not strictly increasing.
        """
        if student_layers > teacher_layers and name in ("uniform", "top", "bottom", "double"):
            raise UserError(
                f"the layer map '{name}' cannot map a student of {student_layers} layers onto a teacher of {teacher_layers}: each "
                "student layer needs its own teacher layer.\nUse --layer_map last, explicit pairs, or a shallower student."
            )
        students, teachers = range(student_layers + 1), teacher_layers
        if name == "uniform":
            hidden = [(m, round(m * teachers / student_layers)) for m in students]
        elif name == "top":
            hidden = [(m, m + teachers - student_layers if m else 0) for m in students]
        elif name == "bottom":
            hidden = [(m, m) for m in students]
        elif name == "last":
            hidden = [(0, 0), (student_layers, teachers)]
        elif name == "double":
            hidden = [(m, 2 * m) for m in students]
        else:
            hidden = _explicit(name)
        return cls._of(name, student_layers, teacher_layers, hidden)

    @classmethod
    def _of(cls, name: str, student_layers: int, teacher_layers: int, hidden: list[tuple[int, int]]) -> LayerMap:
        attention = [(s - 1, t - 1) for s, t in hidden if s > 0]
        return cls(name, student_layers, teacher_layers, tuple(hidden), tuple(attention))

    @classmethod
    def grid(cls, student_layers: int, teacher_layers: int, top: int | None = None, keep: int | None = None) -> LayerMap:
        """The last `keep` entries of the student, spread evenly over the first `top` layers of the teacher: g(m) = round(m * top / S).

        Defaults: all layers of the teacher, and all S + 1 entries.

        Raises:
            UserError: `top` or `keep` is out of range, or there are fewer teacher layers than student layers.

        Source: "Marginal Utility Diminishes" (Liu et al. 2021), depth compression; rounding half to even as in its code.
        """
        top = teacher_layers if top is None else top
        keep = student_layers + 1 if keep is None else keep
        if top > teacher_layers:
            raise UserError(
                f"--layer_scheme t_top{top} asks for {top} layers, but the teacher has {teacher_layers}.\n"
                f"Expected t_top{student_layers} to t_top{teacher_layers}."
            )
        if top < student_layers:
            raise UserError(
                f"--layer_scheme t_top{top} has fewer layers than the student ({student_layers}): two student layers would learn "
                "from the same one.\n"
                f"Expected t_top{student_layers} to t_top{teacher_layers}, or a shallower student."
            )
        if keep > student_layers + 1:
            raise UserError(
                f"--keep_layers {keep} is too large: a student of {student_layers} layers has {student_layers + 1} entries, "
                "including the embedding.\nKeep at most that many."
            )
        entries = range(student_layers + 1)[-keep:]
        hidden = [(m, round(m * top / student_layers)) for m in entries]
        return cls._of(f"t_top{top}, {keep} of {student_layers + 1} entries", student_layers, teacher_layers, hidden)

    def __post_init__(self) -> None:
        shape = f"layer map '{self.name}' for a student of {self.student_layers} and a teacher of {self.teacher_layers} layers"
        if not self.hidden:
            raise UserError(f"{shape} is empty. Give at least one pair, for example 0:0.")
        for s, t in self.hidden:
            if not (0 <= s <= self.student_layers and 0 <= t <= self.teacher_layers):
                raise UserError(
                    f"{shape}: the pair {s}:{t} is out of range.\n"
                    f"Student entries range from 0 to {self.student_layers}, teacher entries from 0 to {self.teacher_layers}; "
                    "entry 0 is the embedding.\n"
                    "Choose other pairs (--layer_map; with --method mud --s_layer_indices and --t_layer_indices)."
                )
            if (s == 0) != (t == 0):
                raise UserError(f"{shape}: the pair {s}:{t} mixes an embedding with a layer.\nEntry 0 pairs only with entry 0.")
        for (s1, t1), (s2, t2) in zip(self.hidden, self.hidden[1:], strict=False):
            if s2 <= s1 or t2 <= t1:
                raise UserError(
                    f"{shape} is not strictly increasing: {s1}:{t1} is followed by {s2}:{t2}.\n"
                    "Each student entry needs its own teacher entry, in order. A student deeper than its teacher cannot "
                    "be mapped layer by layer: use --layer_map last, or a shallower student."
                )

    def table(self, learnt: str = "hidden states, attention scores") -> str:
        """The map as lines of text: student entry, teacher entry, and what is learned."""
        lines = [f"layer map {self.name} ({self.student_layers} of {self.teacher_layers} layers)"]
        for s, t in self.hidden:
            if s == 0:
                lines.append("  student embedding <- teacher embedding")
            else:
                lines.append(f"  student layer {s:>2}   <- teacher layer {t:>2} ({learnt})")
        return "\n".join(lines)


def _explicit(text: str) -> list[tuple[int, int]]:
    try:
        return [(int(s), int(t)) for s, t in (pair.split(":") for pair in text.split(","))]
    except ValueError:
        raise UserError(
            f"unknown layer map '{text}'.\nExpected one of {', '.join(NAMES)}, or pairs student:teacher such as "
            "0:0,1:3,2:6 (entry 0 is the embedding)."
        ) from None
