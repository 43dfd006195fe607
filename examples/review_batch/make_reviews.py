"""Writes reviews.csv: 200 rows, the same ones each time."""

import csv
import itertools
from pathlib import Path

PRODUCTS = ["kettle", "desk lamp", "rucksack", "headphones", "umbrella"]
OPENINGS = ["Bought it in spring.", "A present for my brother.", "My third one.", "Second hand.", "For the office."]
VERDICTS = [
    "Works as it should, I am glad to have it.",
    "Broke after two weeks, and nobody answers my letters.",
    "It is all right for the price.",
    "The best that I have ever had!",
    "Far too loud, I sent it back.",
    "Arrived late, but it is fine.",
    "Does what it says.",
    "The handle came off on the first day.",
]

if __name__ == "__main__":
    with Path(__file__).with_name("reviews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "product", "text"])
        texts = itertools.product(PRODUCTS, OPENINGS, VERDICTS)
        for number, (product, opening, verdict) in enumerate(texts, 1):
            writer.writerow([number, product, f"{opening} {verdict}"])
