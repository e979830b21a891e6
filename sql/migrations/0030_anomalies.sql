-- name: 0030_anomalies
-- grain: hour or incident, and the series
-- unique: hour or incident, and the series
-- reads:
-- The series that are watched, hour by hour, the memory of the watch, and the incidents it found. A
-- series has no person in it.

create table pipeline.watched_hours (
    hour timestamptz not null,
    environment varchar not null,
    scope varchar not null,
    subject varchar,
    requests bigint not null,
    errors bigint not null,
    refusals bigint not null,
    requests_with_finish bigint not null,
    requests_cut bigint not null,
    requests_redirected bigint not null,
    requests_with_price bigint not null,
    requests_dear bigint not null,
    requests_with_cost bigint not null,
    cost_usd decimal(38, 12),
    requests_with_tokens bigint not null,
    tokens_output bigint,
    latency_ms_p95 double
);

create table pipeline.watched (
    hour timestamptz not null,
    requests bigint not null,
    successes bigint not null,
    cost_usd decimal(38, 12)
);

create table pipeline.watch_states (
    next_hour timestamptz not null,
    environment varchar not null,
    scope varchar not null,
    subject varchar,
    metric varchar not null,
    memory double[] not null
);

create table anomalies (
    anomaly_id varchar not null,
    incident_id varchar not null,
    environment varchar,
    scope varchar not null,
    subject varchar,
    metric varchar not null,
    since timestamptz not null,
    detected_at timestamptz not null,
    ended_at timestamptz,
    expected double not null,
    expected_low double not null,
    expected_high double not null,
    seen double not null,
    contributors json not null
);
