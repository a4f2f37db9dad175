-- Two more kinds of requests. One that extends a grant names it. One for an edit of groups, roles or permissions has the edit
-- as JSON; it grants nobody a membership, so its `group_name` says in words what is edited, which no group's name can be, and
-- its `minutes` say nothing.

ALTER TABLE gate_access_requests ADD COLUMN extends TEXT;
ALTER TABLE gate_access_requests ADD COLUMN edit TEXT;
