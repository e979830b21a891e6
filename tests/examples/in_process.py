"""A request without a server: its answer, its cost, a judgement, and the reason of the choice."""

from __future__ import annotations

from router import Request, Router

with Router.open() as router:  # the data folder of INTELLIROUTER_HOME, or `home=…`
    request = Request(
        messages=[{"role": "user", "content": "What is 17 * 23?"}], task_type="math", user_id="ada"
    )
    response = router.complete_sync(request)
    print(response.text)
    print(f"by {response.model} for {response.cost_usd} dollars")
    router.feedback(response.request_id, "quality", 1.0)  # 0 (worst) to 1 (best), now or days later

    decision = router.route(request)  # decides, and calls nobody
    print(f"the next one would go to {decision.model}: {decision.reason}")
