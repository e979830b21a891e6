-- name: 0017_copies
-- grain: request_id; config_hash and policy
-- unique: request_id; config_hash, policy_id, policy_version
-- reads:
-- `request_logs` also answers to `id`. `decision_factors` keeps the weights of each configuration in the
-- history. `request_documents` is a request as one document.

create table request_logs_with_id (
    request_id varchar not null,
    schema_version bigint not null,
    timestamp timestamptz not null,
    organization_id varchar,
    user_id varchar,
    body_mode varchar not null,
    request_data json,
    response_data json,
    routing_decision json,
    error_details varchar,
    ip_address varchar,
    user_agent varchar,
    segment varchar not null,
    id varchar generated always as (request_id) virtual
);

insert into request_logs_with_id (
    request_id,
    schema_version,
    timestamp,
    organization_id,
    user_id,
    body_mode,
    request_data,
    response_data,
    routing_decision,
    error_details,
    ip_address,
    user_agent,
    segment
)
select
    request_id,
    schema_version,
    timestamp,
    organization_id,
    user_id,
    body_mode,
    request_data,
    response_data,
    routing_decision,
    error_details,
    ip_address,
    user_agent,
    segment
from request_logs;

drop table request_logs;

alter table request_logs_with_id rename to request_logs;

create table decision_factors (
    config_hash varchar not null,
    policy_id varchar not null,
    policy_version bigint not null,
    cost_weight double,
    quality_weight double not null
);

create view request_documents as
select
    requests.id as _id,
    requests.timestamp,
    requests.user_id,
    {
        'selected_model': requests.model_selected,
        'reason': requests.reason,
        'alternatives_considered': [
            candidate.model
            for candidate in requests.candidates
            if candidate.is_eligible and candidate.model is distinct from requests.model_selected
        ],
        'decision_factors': case
            when factors.config_hash is not null
            then {'cost_weight': factors.cost_weight, 'quality_weight': factors.quality_weight}
        end
    } as routing_decision,
    {
        'cost_usd': requests.cost_usd,
        'latency_ms': requests.latency_ms,
        'tokens': {'input': requests.tokens_input, 'output': requests.tokens_output}
    } as performance_metrics
from request_analytics as requests
left join decision_factors as factors
    on factors.config_hash = requests.config_hash
    and factors.policy_id = requests.policy_id
    and factors.policy_version = requests.policy_version;
