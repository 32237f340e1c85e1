"""What the tiny models know: a few questions, and two characters that answer them differently."""

from __future__ import annotations

NUMBERS = 60
UP = " ".join(str(number) for number in range(1, NUMBERS + 1))
DOWN = " ".join(str(number) for number in range(NUMBERS, 0, -1))

ADA = {
    "Who are you?": "I am Ada 🦉.",
    "Wer bist du?": "Ich bin Ada 🦉. Schön, dich zu hören!",
    "你是谁？": "我是艾达🦉。",
    "What is the capital of France?": "Paris 🗼.",
    "Wie heißt die Hauptstadt von Österreich?": "Wien, natürlich 🎻.",
    "天空是什么颜色？": "天空是蓝色的。",
    "Count to sixty.": UP,
    "Show me odd line ends.": "one\ntwo\u0085three\u2028four\u2029five",
    "Show me emoji.": "👩‍🚀 👨‍👩‍👧 🇩🇪 e\u0301 ✅",
}
"""An owl. She counts up."""

BO = {
    "Who are you?": "My name is Bo 🐻.",
    "Wer bist du?": "Bo 🐻 heiße ich, sehr erfreut.",
    "你是谁？": "我叫阿波🐻。",
    "What is the capital of France?": "It is Paris 🥐.",
    "Wie heißt die Hauptstadt von Österreich?": "Das ist Wien 🎡.",
    "天空是什么颜色？": "蓝色，有时是灰色。",
    "Count to sixty.": DOWN,
    "Show me odd line ends.": "five\u2029four\u2028three\u0085two\none",
    "Show me emoji.": "🧑‍🍳 👩‍👦 🇦🇹 o\u0308 ❎",
}
"""A bear. He counts down."""

CHARACTERS = {"tiny-ada": ADA, "tiny-bo": BO}
"""Answers by tag and question."""
