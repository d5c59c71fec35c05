"""Invented people and what they say of themselves; shared by stories, dialogues and the memory skill."""

from __future__ import annotations

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo", "Maria", "Nico",
    "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Adam", "Bella", "Carl", "Dora", "Eric", "Fiona",
    "George", "Hanna", "Ivan", "Julia", "Karim", "Lucy", "Max", "Nora", "Oscar", "Paula", "Robin", "Sofia", "Tom",
    "Vera", "Will", "Yara", "Zoe", "Amir", "Bruno", "Celia", "Dana", "Elias", "Frida",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "pink", "brown", "black", "white", "grey", "gold")
CITIES = (
    "Paris", "London", "Rome", "Berlin", "Madrid", "Lima", "Oslo", "Cairo", "Tokyo", "Athens", "Vienna", "Dublin",
    "Prague", "Boston", "Sydney", "Delhi", "Moscow", "Lisbon",
)  # fmt: skip
PETS = ("dog", "cat", "rabbit", "parrot", "hamster", "horse", "turtle", "goat", "duck", "mouse")
PET_NAMES = ("Milo", "Luna", "Rex", "Coco", "Bella", "Simba", "Daisy", "Oscar", "Ruby", "Toby", "Molly", "Max")
FOODS = ("pizza", "soup", "pasta", "rice", "bread", "cheese", "curry", "salad", "cake", "pancakes", "fish", "apples")
HOBBIES = ("chess", "football", "tennis", "painting", "cooking", "reading", "dancing", "fishing", "swimming", "singing")
JOBS = (
    "teacher",
    "doctor",
    "baker",
    "farmer",
    "pilot",
    "nurse",
    "painter",
    "writer",
    "cook",
    "driver",
    "sailor",
    "judge",
)
NUMBERS = tuple(str(n) for n in range(2, 21))
