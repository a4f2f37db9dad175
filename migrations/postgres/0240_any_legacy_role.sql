-- Legacy roles are the words that Console's @require_role takes, whatever they are: the four of the design were those of
-- one Console. What a role may be (1 to 64 characters, no white space, commas and quotes) is for the program to check; a
-- row with anything else grants nothing and is reported.

ALTER TABLE gate_machine_token_legacy_roles
    DROP CONSTRAINT IF EXISTS gate_machine_token_legacy_roles_role_check;
