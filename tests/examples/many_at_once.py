"""Forty requests at once over one router. Open one router in a process, and share it."""

from __future__ import annotations

import asyncio
from collections import Counter

from router import Request, Router

QUESTIONS = [f"What is {number} squared?" for number in range(40)]


async def main() -> None:
    """Ask all of them, and count who answered."""
    async with Router.open() as router:
        requests = [
            Request(messages=[{"role": "user", "content": question}], task_type="math")
            for question in QUESTIONS
        ]
        responses = await asyncio.gather(*(router.complete(request) for request in requests))
    models = Counter(response.model for response in responses)
    known = [response.cost_usd for response in responses if response.cost_usd is not None]
    print(f"{len(responses)} answers: {dict(models)}")
    print(f"{sum(known)} dollars, and {len(responses) - len(known)} answers of unknown cost")


asyncio.run(main())
