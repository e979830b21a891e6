"""Which model: what is known, who is eligible, the plan and the draw, and why."""
