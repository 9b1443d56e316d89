-- Roles and row-level security. Everything of Runyard lives in the schema `runyard`.
--
-- runyard_app: what the server works as. It sees the rows of one organization, the one that the
--   transaction has set in `runyard.org`, and none when none is set.
-- runyard_system: owner of the few SECURITY DEFINER functions that cross organizations. Row-level
--   security is forced for it too; a policy of its own lets it see every row.
--
-- Roles belong to the whole server, so another database may have made them, or be making them now.

do $$
declare
  wanted text;
begin
  foreach wanted in array array['runyard_app', 'runyard_system'] loop
    continue when exists (select from pg_roles where rolname = wanted);
    begin
      execute format('create role %I nologin', wanted);
    exception when duplicate_object or unique_violation then
      null;
    end;
  end loop;
end $$;

-- A superuser may act as any role. Anybody else must be a member: a user with CREATEROLE can see to it.
do $$
declare
  wanted text;
  needed text := case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end;
begin
  foreach wanted in array array['runyard_app', 'runyard_system'] loop
    continue when pg_has_role(current_user, wanted, needed);
    begin
      execute format('grant %I to %I', wanted, current_user);
    exception when unique_violation or internal_error then
      null; -- the same grant from another database, at the same moment
    end;
  end loop;
end $$;

grant usage on schema runyard to runyard_app, runyard_system;
-- Only whoever may create in a schema can be given a function in it.
grant create on schema runyard to runyard_system;

-- The organization of this transaction, or null.
create function runyard.current_org() returns text
language sql stable parallel safe
return nullif(current_setting('runyard.org', true), '');

-- Puts a table with a column `org_id` under row-level security. Every table gets this in the migration
-- that makes it. Constraints and foreign keys are checked without regard to it, as PostgreSQL does.
create procedure runyard.protect(target regclass)
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  execute format('alter table %s enable row level security, force row level security', target);
  execute format(
    'create policy own_organization on %s to runyard_app using (org_id = runyard.current_org()) with check (org_id = runyard.current_org())',
    target);
  execute format('create policy every_organization on %s to runyard_system using (true) with check (true)', target);
  execute format('grant select, insert, update, delete on %s to runyard_app, runyard_system', target);
end $f$;
revoke execute on procedure runyard.protect(regclass) from public;
