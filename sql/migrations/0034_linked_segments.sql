-- name: 0034_linked_segments
-- grain: dataset and segment; dataset
-- unique: dataset, name; dataset
-- reads:
-- Rows of large segments are read where they lie, in the lake's files. The tables keep the rows of the
-- others, and views of the former names show both. `linked_segments` lists the files that a view reads.
-- `linked_views` says of which list and folder a view is, and has no row of a view that is out of date.

alter table request_analytics rename to request_analytics_rows;

alter table feedback rename to feedback_rows;

alter table request_logs rename to request_logs_rows;

create view request_analytics as
select *
from request_analytics_rows;

create view feedback as
select *
from feedback_rows;

create view request_logs as
select *
from request_logs_rows;

create table pipeline.linked_segments (
    dataset varchar not null,
    name varchar not null,
    schema_version bigint not null,
    rows bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    first_hour timestamptz,
    last_hour timestamptz,
    file_bytes bigint not null,
    changed_ns bigint not null
);

create table pipeline.linked_views (
    dataset varchar not null,
    state varchar not null
);
