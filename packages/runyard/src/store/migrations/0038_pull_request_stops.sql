-- Pull requests whose agents were all stopped by a person: no run of them goes on before somebody allows it again.

create table runyard.pull_request_stops (
  org_id text not null references runyard.organizations,
  -- In lower case: names at GitHub are the same in any.
  url text not null,
  stopped_by text not null,
  stopped_at timestamptz not null default now(),
  -- What its runs are cancelled with, and the events that say so.
  reason text not null,
  types text[] not null,
  data text[] not null,
  primary key (org_id, url)
);
call runyard.protect('runyard.pull_request_stops');

create index pull_requests_url on runyard.pull_requests (org_id, lower(url));

-- Stops a pull request and cancels its runs that have not ended: a queued one, or one in nobody's hands, at once, others by
-- their runners. The organization's row is held first, as everybody does who lets a run go on or begin a turn, so that none
-- does beside it. Gives the runs that are cancelled by this.
create function runyard.stop_pull_request(p_url text, p_by text, p_reason text, p_types text[], p_data text[]) returns table (run_id text)
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  insert into runyard.pull_request_stops (org_id, url, stopped_by, reason, types, data)
    values (runyard.current_org(), p_url, p_by, p_reason, p_types, p_data) on conflict do nothing;
  for run_id in
    select distinct r.id from runyard.pull_requests p join runyard.runs r on r.id = p.run_id
      where p.org_id = runyard.current_org() and lower(p.url) = p_url
        and not runyard.is_terminal(r.status) and r.cancel_reason is null
      order by 1
  loop
    perform runyard.cancel_run(run_id, p_reason, p_types, p_data);
    return next;
  end loop;
end $f$;

-- Whether a pull request of the run is stopped.
create function runyard.is_stopped(p_org text, p_run text) returns boolean
language sql stable set search_path = runyard, pg_temp as $f$
  select exists (select 1 from runyard.pull_requests p join runyard.pull_request_stops s on s.org_id = p.org_id and s.url = lower(p.url)
    where p.org_id = p_org and p.run_id = p_run)
$f$;

-- No turn of such a run begins, whoever asks for it: nothing is updated.
create function runyard.keep_stopped() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  return case when runyard.is_stopped(new.org_id, new.id) then null else new end;
end $f$;
create trigger keep_stopped before update of turn on runyard.runs for each row
  when (new.turn > old.turn)
  execute function runyard.keep_stopped();

-- A pull request may be stopped between the moment when it is opened and the one when its run says that it has it.
create function runyard.cancel_if_stopped() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  stop runyard.pull_request_stops;
begin
  perform 1 from runyard.org_slots s where s.org_id = new.org_id for no key update;
  select s.* into stop from runyard.pull_request_stops s where s.org_id = new.org_id and s.url = lower(new.url);
  if stop.url is not null
    and exists (select 1 from runyard.runs r where r.id = new.run_id and r.cancel_reason is null and not runyard.is_terminal(r.status)) then
    perform runyard.cancel_run(new.run_id, stop.reason, stop.types, stop.data);
  end if;
  return null;
end $f$;
create trigger cancel_if_stopped after insert on runyard.pull_requests for each row
  execute function runyard.cancel_if_stopped();
