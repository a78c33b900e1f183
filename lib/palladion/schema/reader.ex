defmodule Palladion.Schema.Reader do
  @moduledoc false
  # Reads the schema tables, in the caller's process and within one deadline: all questions are
  # on their way before the first answer is waited for. Only further pages are asked for in turn.

  alias Palladion.{ConnectionError, Request, Result}

  @required [:keyspaces, :tables, :columns]
  # Cassandra and ScyllaDB have these as well, but not all that speaks CQL does.
  @optional [:indexes, :views, :types, :functions, :aggregates]
  # Since Cassandra 4.0, and not open to every role everywhere.
  @virtual [virtual_keyspaces: :keyspaces, virtual_tables: :tables, virtual_columns: :columns]

  @doc false
  # The rows of each table by its name; of one that the server doesn't have, none.
  @spec read(Palladion.name(), map()) :: {:ok, %{atom() => [map()]}} | Palladion.error()
  def read(name, %{keyspace: keyspace, system: system?, timeout: timeout}) do
    deadline = deadline(timeout)

    answers = ask_all(questions(keyspace, system?), name, deadline, [])
    with {:error, error} <- answers, do: {:error, of_all(error, timeout)}
  end

  # Each with the reasons for which its answer may be an error.
  defp questions(keyspace, system?) do
    required = for table <- @required, do: {table, select("system_schema", table, keyspace), []}

    optional =
      for table <- @optional, do: {table, select("system_schema", table, keyspace), [:invalid]}

    virtual =
      for {key, table} <- @virtual, virtual?(keyspace, system?) do
        {key, select("system_virtual_schema", table, keyspace), [:invalid, :unauthorized]}
      end

    required ++ optional ++ virtual
  end

  # No virtual keyspace is a user's.
  defp virtual?(nil, system?), do: system?
  defp virtual?(keyspace, _system?), do: String.starts_with?(keyspace, "system")

  # The keyspaces are few, and all are read so that an error can suggest one of them. The name is
  # no bind marker, since a prepared `SELECT *` has the columns of the version that prepared it.
  defp select(schema, table, keyspace) when table == :keyspaces or keyspace == nil,
    do: "SELECT * FROM #{schema}.#{table}"

  defp select(schema, table, keyspace) do
    literal = String.replace(keyspace, "'", "''")
    "SELECT * FROM #{schema}.#{table} WHERE keyspace_name = '#{literal}'"
  end

  defp ask_all([], name, deadline, pending) do
    pending |> Enum.reverse() |> await_all(name, deadline, %{})
  end

  defp ask_all([{_key, statement, _tolerated} = question | rest], name, deadline, pending) do
    with {:ok, request} <- Request.submit(name, statement, [], options(deadline)) do
      try do
        ask_all(rest, name, deadline, [{question, request} | pending])
      after
        # After an error, whatever kind it is, nobody waits for the others; else it does nothing.
        Request.cancel(request)
      end
    end
  end

  defp await_all([], _name, _deadline, answers), do: {:ok, answers}

  defp await_all([{{key, statement, tolerated}, request} | rest], name, deadline, answers) do
    case request |> Request.await(:infinity) |> pages(name, statement, deadline, []) do
      {:ok, rows} ->
        await_all(rest, name, deadline, Map.put(answers, key, rows))

      {:error, error} ->
        if error.reason in tolerated,
          do: await_all(rest, name, deadline, Map.put(answers, key, [])),
          else: {:error, error}
    end
  end

  defp pages({:ok, %Result{paging_state: nil, rows: rows}}, _name, _statement, _deadline, before),
    do: {:ok, [rows | before] |> Enum.reverse() |> Enum.concat()}

  defp pages({:ok, %Result{paging_state: state, rows: rows}}, name, statement, deadline, before) do
    name
    |> Request.query(statement, [], [paging_state: state] ++ options(deadline))
    |> pages(name, statement, deadline, [rows | before])
  end

  defp pages({:error, _error} = error, _name, _statement, _deadline, _before), do: error

  # Schema tables are each node's own, so that one node is enough, whatever the cluster's default.
  defp options(deadline),
    do: [timeout: remaining(deadline), consistency: :one, rows: :maps, uuids: :text]

  # The time that the caller gave, and not what was left of it for one question.
  defp of_all(%ConnectionError{reason: :timeout} = error, timeout),
    do: %{error | details: Map.put(error.details, :timeout, timeout)}

  defp of_all(error, _timeout), do: error

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout), do: System.monotonic_time(:millisecond) + timeout

  defp remaining(:infinity), do: :infinity
  defp remaining(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end
