%% Palladion from plain Erlang: a cluster, values and rows, a prepared statement, an error.
%% README.md says how it is compiled and run.
-module(heroes).

-export([main/0]).

-define(DB, heroes_db).

main() ->
    {ok, _} = application:ensure_all_started(palladion),
    {ok, _} = connect(),
    ok = create_table(),
    ok = write([{1, <<"Ἀχιλλεύς"/utf8>>, 29}, {2, <<"Ἕκτωρ"/utf8>>, nil}]),
    ok = read(1),
    ok = read(2),
    ok = handle_errors(),
    ok = 'Elixir.Palladion':stop(?DB),
    io:format("done~n").

%% In a supervision tree, the child's specification is 'Elixir.Palladion':child_spec(Options).
connect() ->
    'Elixir.Palladion':start_link([
        {name, ?DB},
        {contact_points, [env("CASSANDRA_CONTACT_POINT")]},
        {tls, [{cacertfile, env("CASSANDRA_CACERTFILE")}]},
        {auth, [{username, env("CASSANDRA_USERNAME")}, {password, env("CASSANDRA_PASSWORD")}]},
        {sync_connect, 20000}
    ]).

env(Name) -> unicode:characters_to_binary(os:getenv(Name)).

%% Statements, as all text, are binaries.
create_table() ->
    {ok, _} = 'Elixir.Palladion':query(?DB, <<
        "CREATE KEYSPACE IF NOT EXISTS iliad "
        "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    >>),
    {ok, _} = 'Elixir.Palladion':query(?DB, <<
        "CREATE TABLE IF NOT EXISTS iliad.heroes (id int PRIMARY KEY, name text, ships int)"
    >>),
    ok.

%% Null is the atom nil.
write(Heroes) ->
    {ok, Insert} = 'Elixir.Palladion':prepare(
        ?DB, <<"INSERT INTO iliad.heroes (id, name, ships) VALUES (?, ?, ?)">>
    ),
    lists:foreach(
        fun({Id, Name, Ships}) ->
            {ok, _} = 'Elixir.Palladion':execute(?DB, Insert, [Id, Name, Ships])
        end,
        Heroes
    ).

%% A result is a map, and so is each of its rows.
read(Id) ->
    Select = <<"SELECT name, ships FROM iliad.heroes WHERE id = ?">>,
    {ok, #{rows := [Row]}} = 'Elixir.Palladion':query(?DB, Select, [Id], [{timeout, 5000}]),
    case Row of
        #{<<"name">> := Name, <<"ships">> := nil} -> io:format("~ts~n", [Name]);
        #{<<"name">> := Name, <<"ships">> := N} -> io:format("~ts, ~b ships~n", [Name, N])
    end.

%% Errors are maps too; 'Elixir.Exception' makes text of any of them.
handle_errors() ->
    refused = ask(<<"SELECT name FROM iliad.heroines">>, []),
    not_sent = ask(<<"SELECT name FROM iliad.heroes WHERE id = ?">>, [<<"one">>]),
    ok.

ask(Statement, Values) ->
    case 'Elixir.Palladion':query(?DB, Statement, Values) of
        {ok, #{rows := Rows}} ->
            {rows, Rows};
        {error, #{'__struct__' := 'Elixir.Palladion.Error', reason := invalid} = Error} ->
            io:format("~ts~n", ['Elixir.Exception':message(Error)]),
            refused;
        {error, #{'__struct__' := 'Elixir.Palladion.Error', reason := bad_value} = Error} ->
            io:format("~ts~n", ['Elixir.Exception':message(Error)]),
            not_sent;
        {error, #{'__struct__' := 'Elixir.Palladion.ConnectionError', reason := Reason}} ->
            {try_again, Reason}
    end.
