-- name: 0036_failing_hours
-- grain: check and hour
-- unique: check_name, hour
-- reads:
-- The hours in which a check last failed. It looks at them again until it passes, so that a failure does not
-- leave with the next refresh while the rows are still there.

create table pipeline.failing_hours (
    check_name varchar not null,
    hour timestamptz not null,
    primary key (check_name, hour)
);
