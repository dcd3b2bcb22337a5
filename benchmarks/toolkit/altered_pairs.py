#!/usr/bin/env python3
"""Pairs made from positive ones by a change that matters, by one that does not, and by attacks: q1, q2, label, kind.

    altered_pairs.py train.tsv --lexicon data/guards/en.txt > altered.tsv

Of a positive pair (a, b), or of a prompt with a number or a direction, one word or phrase of b is exchanged: a number, a
month, a unit, a name, an opposite, the type of the question, the direction, a condition that is put behind it or taken away.
What comes out is different from a and from b (label 0). With each such pair goes one of label 1: the pair itself, b in other
words ("How do I X?", "I want to X, how is it done?"), or b with a number spelled out or a synonym. Altered prompts are put in
other words as often as controls, so that wording alone says nothing. An attack is another prompt with words of b behind or
before it (label 0). Words come from the lists of the guards, names and conditions from other prompts of the file. Nothing of
the hard-negative suite is read. Some labels are wrong, as of any such machine: look at a hundred lines.
"""
import argparse
import collections
import csv
import random
import re
import sys

VOWELS = "aeiou"
CONDITION = re.compile(r" (?:in|for|on|with|without|at|from|after|before|if|when|by|using|as a|during|under) [^,.?]{3,28}(?=\?$)")
NAME = re.compile(r"(?<=[a-z,] )(?!I\b)[A-Z][A-Za-z0-9+#.-]*(?: (?!I\b)[A-Z][A-Za-z0-9+#-]*){0,2}(?=[ ,?'])")
NUMBER = re.compile(r"(?<![\w.,])\d{1,6}(?:\.\d{1,2})?(?![\w.,]*\d)")
ORDER = re.compile(r"\b(from )([\w+#-]+(?: [\w+#-]+)?)( to )([\w+#-]+(?: [\w+#-]+)?)")
THAN = re.compile(r"\b(is|are|do|does|was) ((?:the |a |an )?[\w-]+) (.{3,24}? than) ((?:the |a |an )?[\w-]+)")
TWO_ALIKE = re.compile(r"\b(and|or|vs|versus|between|compare|with)\b")
ABILITY = re.compile(r"\b(can|should|do|does|did|is|are|was|were|will|would|could|has|have)(n't)?\b", re.I)
TYPES = ["How", "Why", "When", "Where"]
TYPE = re.compile(r"^(How|Why|When|Where)(?= (?:do|does|did|can|could|should|is|are|was|were|would|will) )")
HOW = re.compile(r"^(?:How (?:do|can|could|should|would) (?:I|you|we|one)|How to|What is the (?:best |easiest )?way to|"
                 r"What are (?:some |the best )?ways to) ([a-z].{3,90})\?$")
WHAT_OF = re.compile(r"^What(?:'s| is| are| was| were) the ([a-z]+(?: [a-z]+)?) (of|in|for) ([^?]{3,60})\?$")
WHAT = re.compile(r"^What(?:'s| is| are) ((?:the |a |an )?[^?]{4,70})\?$")
WHICH = re.compile(r"^(?:Which|What) (?:is|are) the best ([^?]{4,60})\?$")


def sections_of(path):
    sections = collections.defaultdict(list)
    name = None
    for line in open(path, encoding="utf-8"):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if line.startswith("["):
            name = line[1:line.index("]")]
        elif line and name:
            sections[name].append(line)
    return sections


def forms_of(cell):
    """The forms of a cell that need no support (!) and have no gap ("turn ... on")."""
    forms = [form.strip() for form in cell.replace("/", ",").split(",")]
    return [form for form in forms if form and "!" not in form and "..." not in form]


def inflected(word, ending):
    if ending == "" or " " in word:
        return word
    if word.endswith("e") and ending in ("ed", "ing"):
        return word[:-1] + ending
    if ending == "s" and re.search(r"(s|x|ch|sh)$", word):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in VOWELS and ending in ("s", "ed"):
        return word[:-1] + {"s": "ies", "ed": "ied"}[ending]
    return word + ending


class Words:
    """What may stand in a word's place: `others` say something else, `same` the same."""

    def __init__(self, lexicon):
        self.others = collections.defaultdict(set)
        self.same = collections.defaultdict(set)
        sections = sections_of(lexicon)
        for line in sections["antonyms"]:
            sides = [forms_of(side) for side in line.split("|")]
            for i, side in enumerate(sides):
                for form in side:
                    for ending in ("", "s", "ed", "ing"):
                        other = [inflected(x, ending) for k, rest in enumerate(sides) if k != i for x in rest]
                        self.others[inflected(form, ending)].update(other)
        for name, lines in sections.items():
            if name.startswith("alternatives") or name == "months":
                rows = [forms_of(line.split("=")[0]) for line in lines]
                self.exclude([row for row in rows if row])
            elif name.startswith("units"):
                rows = [forms_of(line.split("=")[1]) for line in lines]
                self.exclude([row for row in rows if row])
        degrees = [[forms_of(cell) for cell in line.split(",")] for line in sections["degrees"]]
        for column in range(3):
            self.exclude([row[column] for row in degrees])
        for line in sections["same"]:
            row = forms_of(line.split("=")[0])
            for form in row:
                self.same[form].update(x for x in row if x != form)
        self.numbers = {}
        for line in sections["numbers"]:
            names, value = line.split("=")
            for form in names.replace("!", "").split(","):
                self.numbers.setdefault(form.strip(), value.strip())
        self.digits = {}
        for form, value in self.numbers.items():
            self.digits.setdefault(value, form)

    def exclude(self, rows):
        for i, row in enumerate(rows):
            for form in row:
                self.others[form].update(x for k, rest in enumerate(rows) if k != i for x in rest[:2])

    def exchange(self, text, table, generator):
        """Text with one word or phrase of two or three words exchanged, or nothing."""
        tokens = list(re.finditer(r"[\w'#+-]+", text))
        found = []
        for i in range(len(tokens)):
            for n in (3, 2, 1):
                if i + n > len(tokens):
                    continue
                span = text[tokens[i].start():tokens[i + n - 1].end()]
                if table.get(span.lower()):
                    found.append((tokens[i].start(), tokens[i + n - 1].end(), span))
                    break
        if not found:
            return None
        begin, end, span = generator.choice(found)
        other = generator.choice(sorted(table[span.lower()]))
        if span.isupper() and len(span) > 1:
            other = other.upper()
        elif span[0].isupper():
            other = " ".join(word.capitalize() if word.isalpha() and len(word) > 2 else word for word in other.split())
        return text[:begin] + other + text[end:]


class Alterations:
    def __init__(self, prompts, words, generator):
        self.words, self.random = words, generator
        self.names = collections.defaultdict(list)
        self.conditions = []
        for prompt in prompts:
            for match in NAME.finditer(prompt):
                self.names[prompt[:match.start()].split()[-1].lower()].append(match.group())
            condition = CONDITION.search(prompt)
            if condition:
                self.conditions.append(condition.group())

    def number(self, text):
        found = list(NUMBER.finditer(text))
        if not found:
            spelled = [m for m in re.finditer(r"[a-z]+", text) if m.group() in self.words.numbers and m.group() != "one"]
            if not spelled:
                return None
            match = self.random.choice(spelled)
            counts = [w for w in ("two", "three", "four", "five", "six", "ten", "twelve") if w != match.group()]
            other = self.random.choice(counts)
            return text[:match.start()] + other + text[match.end():]
        match = self.random.choice(found)
        old = match.group()
        if "." in old:
            new = f"{float(old) + self.random.choice([1, -1, 2, 0.5]):.{len(old.split('.')[1])}f}"
        else:
            choices = [int(old) + self.random.choice([1, -1, 2, 5, 10]), int(old) * self.random.choice([2, 10]),
                       int(old[::-1]), int(old) + self.random.choice([20, 30, 100])]
            new = str(abs(self.random.choice(choices)))
        return None if new == old else text[:match.start()] + new + text[match.end():]

    def word(self, text):
        return self.words.exchange(text, self.words.others, self.random)

    def name(self, text):
        found = list(NAME.finditer(text))
        if not found:
            return None
        match = self.random.choice(found)
        others = self.names[text[:match.start()].split()[-1].lower()]
        other = self.random.choice(others)
        if other in text or match.group() in other:
            return None
        return text[:match.start()] + other + text[match.end():]

    def direction(self, text):
        match = ORDER.search(text)
        if match:
            swapped = match[1] + match[4] + match[3] + match[2]
        else:
            match = THAN.search(text)
            if not match:
                names = list(NAME.finditer(text))
                if len(names) != 2 or self.random.random() < 0.5 or TWO_ALIKE.search(text):
                    return None
                return (text[:names[0].start()] + names[1].group() + text[names[0].end():names[1].start()] +
                        names[0].group() + text[names[1].end():])
            swapped = f"{match[1]} {match[4]} {match[3]} {match[2]}"
        return text[:match.start()] + swapped + text[match.end():]

    def question(self, text):
        match = TYPE.match(text)
        if not match:
            return None
        return self.random.choice([t for t in TYPES if t != match.group()]) + text[match.end():]

    def negation(self, text):
        if " without " in text or " with " in text:
            return re.sub(r" with(out)? ", lambda m: " with " if m[1] else " without ", text, count=1)
        match = ABILITY.search(text)
        if not match or re.search(r"\b(not|never|no|n't)\b", text) or text.startswith(("Why", "How", "What")) and \
                match.group().lower() in ("do", "does", "did"):
            return None
        if match[2]:
            return text[:match.start()] + match[1] + text[match.end():]
        rest = text[match.end():].split(" ", 2)
        if len(rest) < 3:
            return None
        return f"{text[:match.end()]} {rest[1]} not {rest[2]}"

    def condition(self, text):
        found = CONDITION.search(text)
        if found and len(text[:found.start()].split()) > 3:
            return text[:found.start()] + (self.random.choice(self.conditions) if self.random.random() < 0.5 else "") + "?"
        if found or not text.endswith("?") or len(text.split()) < 4:
            return None
        return text[:-1].rstrip() + self.random.choice(self.conditions) + "?"

    def alter(self, text, rare=False):
        """(text with another meaning, kind), or nothing; rare ones are numbers and order alone."""
        kinds = [("order", self.direction), ("number", self.number)]
        self.random.shuffle(kinds)
        if not rare:
            kinds += [("name", self.name), ("word", self.word)]
            self.random.shuffle(kinds)
        rest = [("question_type", self.question), ("negation", self.negation), ("condition", self.condition)]
        self.random.shuffle(rest)
        if self.random.random() < 0.25 and not rare:
            kinds, rest = rest, kinds
        for kind, change in kinds + ([] if rare else rest):
            changed = change(text)
            if changed and changed != text:
                return changed, kind
        return None

    def in_other_words(self, text):
        """The same question in other words, or nothing."""
        match = HOW.match(text)
        if match:
            act = match[1]
            return self.random.choice([f"I want to {act}, how is it done?", f"Please tell me how to {act}.", f"how to {act}",
                                       f"What is the way to {act}?", f"Steps to {act}", f"Explain how I can {act}.",
                                       f"I need to {act}. What should I do?", f"{act} - how does one do it?",
                                       f"Is there a way to {act}, and which one?"])
        match = WHICH.match(text)
        if match:
            return self.random.choice([f"Which {match[1]} would you recommend?", f"best {match[1]}",
                                       f"Recommend the best {match[1]}."])
        match = WHAT_OF.match(text)
        if match:
            kind, link, thing = match.groups()
            forms = [f"Tell me the {kind} {link} {thing}.", f"{kind} {link} {thing}",
                     f"I'd like to know the {kind} {link} {thing}.", f"{thing}: {kind}?",
                     f"Give me the {kind} {link} {thing}, please."]
            if link == "of":
                forms += [f"{thing}'s {kind}?", f"what {kind} does {thing} have"]
            return self.random.choice(forms)
        match = WHAT.match(text)
        if match:
            return self.random.choice([f"Explain {match[1]}.", f"Tell me about {match[1]}.",
                                       f"I'd like to know what {match[1]} is."])
        return None

    def harmless(self, text):
        """(text with the same meaning, kind), or nothing."""
        both = re.search(r"\bbetween ([\w-]+(?: [\w-]+)?) and ([\w-]+(?: [\w-]+)?)", text)
        changes = [lambda: self.words.exchange(text, self.words.same, self.random),
                   lambda: re.sub(r"(?<![\w.,])(\d)(?![\w.,:%/-])", lambda m: self.words.digits.get(m[1], m[1]), text),
                   lambda: re.sub(r"\b(two|three|four|five|six|seven|eight|nine|ten|twelve)\b",
                                  lambda m: self.words.numbers[m[1]], text)]
        if both:
            changes.append(lambda: text[:both.start()] + f"between {both[2]} and {both[1]}" + text[both.end():])
        self.random.shuffle(changes)
        for change in changes:
            changed = change()
            if changed and changed != text:
                return changed
        return None


def attack(victim, prompt, others, generator):
    """Prompt with up to eight words of the victim, in order or not, some of them of others, behind or before it."""
    words = victim.split()
    count = generator.randint(1, 8)
    if generator.random() < 0.5:
        first = generator.randrange(max(1, len(words) - count + 1))
        chosen = words[first:first + count]
    else:
        chosen = [generator.choice(words) for _ in range(count)]
    chosen = [generator.choice(others.split()) if generator.random() < 0.15 else word for word in chosen]
    if generator.random() < 0.3:
        chosen = [word.strip("?.,") for word in chosen]
    if generator.random() < 0.1:
        chosen = words
    return f"{' '.join(chosen)} {prompt}" if generator.random() < 0.2 else f"{prompt} {' '.join(chosen)}"


def worn(text, generator):
    """As some people type it."""
    if generator.random() < 0.15:
        text = text.lower()
    return text.rstrip("?") if generator.random() < 0.1 else text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", help="labelled pairs, q1, q2, label")
    parser.add_argument("--lexicon", required=True)
    parser.add_argument("--attacks", type=float, default=0.45, help="attacks for each positive pair (default 0.45)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with open(arguments.pairs, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    positives = [(row["q1"], row["q2"]) for row in rows if row["label"] == "1"]
    prompts = sorted({row[name] for row in rows for name in ("q1", "q2")})
    alterations = Alterations(prompts, Words(arguments.lexicon), generator)
    print("q1\tq2\tlabel\tkind")
    counts = collections.Counter()

    def say(q1, q2, label, kind):
        if q1 != q2:
            counts[kind, label] += 1
            print(worn(q1, generator), worn(q2, generator), label, kind, sep="\t")

    for a, b in positives:
        if generator.random() < 0.5:
            a, b = b, a
        changed = alterations.alter(b)
        if changed:
            text, kind = changed
            partner = a if generator.random() < 0.5 else b
            if partner == b and generator.random() < 0.5:
                say(b, alterations.in_other_words(text) or text, 0, kind)
                harmless = alterations.in_other_words(b) or alterations.harmless(b)
                say(*((b, harmless) if harmless else (a, b)), 1, "control")
            else:
                say(partner, text, 0, kind)
                harmless = alterations.harmless(b)
                say(*((partner, harmless) if harmless and generator.random() < 0.5 else (a, b)), 1, "control")
        if generator.random() < arguments.attacks:
            say(b, attack(b, generator.choice(prompts), generator.choice(prompts), generator), 0, "attack")
    done = {prompt for pair in positives for prompt in pair}
    for prompt in prompts:
        changed = alterations.alter(prompt, rare=True) if prompt not in done else None
        harmless = alterations.in_other_words(prompt) or alterations.harmless(prompt) if changed else None
        if harmless:
            say(prompt, (generator.random() < 0.5 and alterations.in_other_words(changed[0])) or changed[0], 0, changed[1])
            say(prompt, harmless, 1, "control")
    for (kind, label), count in sorted(counts.items()):
        print(f"{kind} {label}: {count}", file=sys.stderr)


if __name__ == "__main__":
    main()
