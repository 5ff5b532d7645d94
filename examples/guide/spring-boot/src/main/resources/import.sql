insert into users (name, email) values ('Ada Lovelace', 'ada@example.org');
