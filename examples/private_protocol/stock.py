"""An agent of the warehouse on the house's own model. Run it with: python stock.py "Do we have oars?" """

import os
import sys

from house_llm import HouseLLM

from oarlock import Agent, tool

STOCK = {"oar": 12, "oarlock": 0, "rudder": 3}


@tool
def in_stock(article: str) -> int:
    """Tell how many pieces of an article are in stock.

    Args:
        article: its name, in the singular.
    """
    if article not in STOCK:
        raise ValueError(f"There is no article {article!r}. There are: {', '.join(STOCK)}.")
    return STOCK[article]


def main(question: str) -> None:
    llm = HouseLLM(os.environ["HOUSE_URL"], os.environ["HOUSE_TEAM"], os.environ["HOUSE_SECRET"], timeout=20)
    agent = Agent(
        role="Warehouse clerk", goal="Answer from the stock list", backstory="Exact.", llm=llm, tools=[in_stock]
    )
    output = agent.kickoff(question)
    print(output.raw)
    print(f"{output.usage.requests} model calls, {output.usage.total_tokens} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
