-- Tables load_* of :gib GiB on disk, the same bytes at every run: no clock, no random().
-- :random, :json and :text are the shares of the three kinds. What does not compress is SHA-512 of counters.
\set ON_ERROR_STOP on
\set QUIET on
set client_min_messages = warning;
set role opschain;
-- Rebuilt whole each time: a load that was killed leaves part of a table.
drop table if exists load_random, load_json, load_text;

-- Rows of 8 KiB, kept out of line and not compressed, as a file upload would be. 8650 bytes each on disk.
create table load_random (id bigint primary key, data bytea not null);
alter table load_random alter column data set storage external;
insert into load_random
select row, (select string_agg(sha512(int8send(row * 128 + part)), '') from generate_series(0, 127) part)
from generate_series(1, (:gib * :random * 1073741824 / 8650)::bigint) row;

-- What an API keeps of each change: many names repeated, many values not. About 934 bytes each on disk.
create table load_json (id bigint primary key, document jsonb not null);
insert into load_json
select row, jsonb_build_object(
    'change', row, 'status', (array['success', 'error', 'running', 'queued'])[1 + row % 4],
    'project', 'project-' || row % 97, 'environment', 'env-' || row % 31, 'token', md5('token' || row),
    'steps', (select jsonb_agg(jsonb_build_object(
        'name', 'step-' || step, 'started_at', timestamp '2026-01-01' + (row * 6 + step) * interval '1 second',
        'digest', md5((row * 6 + step)::text))) from generate_series(1, 6) step))
from generate_series(1, (:gib * :json * 1073741824 / 934)::bigint) row;

-- Log lines. About 213 bytes each on disk.
create table load_text (id bigint primary key, at timestamp not null, line text not null);
insert into load_text
select row, timestamp '2026-01-01' + row * interval '1 second',
    format('opschain-api-worker [%s] INFO change %s step %s finished in %s ms on host node-%s.example.test, status 0',
        row % 211, md5((row / 50)::text), row % 17, row % 9973, row % 7)
from generate_series(1, (:gib * :text * 1073741824 / 213)::bigint) row;

analyze load_random, load_json, load_text;
reset role;
checkpoint;

\pset footer off
select relname as table, to_char(n_live_tup, 'FM999,999,999') as rows, pg_size_pretty(pg_total_relation_size(relid)) as size,
    round(pg_total_relation_size(relid) / 1048576.0, 1) as mib
from pg_stat_user_tables where relname like 'load\_%' order by relname;
