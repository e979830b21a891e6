-- name: 0019_configurations
-- grain: one row per version; per version or period of a document, policy, model and organisation
-- unique: see each table
-- reads:
-- Which configuration was in force when: its versions, documents, policies, models and organisations.

create table config_versions (
    version bigint not null,
    parent bigint,
    environment varchar not null,
    author varchar not null,
    origin varchar not null,
    config_hash varchar not null,
    documents json not null,
    valid_from timestamptz not null,
    valid_to timestamptz
);

create table config_documents (
    name varchar not null,
    digest varchar not null,
    content varchar not null,
    version bigint not null,
    valid_from timestamptz not null,
    valid_to timestamptz
);

create table routing_configs (
    id varchar not null,
    name varchar not null,
    user_id varchar,
    policy_json json not null,
    is_active boolean not null,
    created_at timestamptz not null,
    organization_id varchar,
    policy_version bigint not null,
    version bigint not null,
    environment varchar not null,
    config_hash varchar not null,
    valid_from timestamptz not null,
    valid_to timestamptz
);

create table models_history (
    id varchar not null,
    name varchar not null,
    provider varchar not null,
    provider_model varchar not null,
    context_window bigint,
    max_output_tokens bigint,
    capabilities json,
    quality_scores json not null,
    availability_status varchar not null,
    version bigint not null,
    valid_from timestamptz not null,
    valid_to timestamptz
);

create table organizations (
    id varchar not null,
    name varchar,
    time_zone varchar not null,
    contact varchar,
    mark_up decimal(12, 9),
    discount decimal(12, 9)
);

create table organizations_history (
    id varchar not null,
    name varchar,
    time_zone varchar not null,
    contact varchar,
    mark_up decimal(12, 9),
    discount decimal(12, 9),
    version bigint not null,
    valid_from timestamptz not null,
    valid_to timestamptz
);
