defmodule Palladion.Schema.Status do
  @moduledoc false
  # Whether Amazon Keyspaces has made a change of the schema. It answers a schema statement when
  # it has noted it, carries it out later, and says in `system_schema_mcs` how far it is.

  @typedoc "What a server says of a change, as in `Palladion.Result`"
  @type change :: %{
          change: String.t(),
          target: String.t(),
          keyspace: String.t(),
          name: String.t() | nil
        }

  @doc false
  # The statement that asks; `nil` where there is nothing to ask.
  @spec question(change()) :: String.t() | nil
  def question(%{target: "KEYSPACE", keyspace: keyspace}),
    do: select("keyspace_name", "keyspaces", keyspace_name: keyspace)

  def question(%{target: "TABLE", keyspace: keyspace, name: name}),
    do: select("status", "tables", keyspace_name: keyspace, table_name: name)

  def question(%{target: "TYPE", keyspace: keyspace, name: name}),
    do: select("status", "types", keyspace_name: keyspace, type_name: name)

  def question(_other), do: nil

  defp select(column, table, key) do
    conditions =
      Enum.map_join(key, " AND ", fn {name, value} -> "#{name} = #{literal(value)}" end)

    "SELECT #{column} FROM system_schema_mcs.#{table} WHERE #{conditions}"
  end

  defp literal(text), do: "'" <> String.replace(text, "'", "''") <> "'"

  @doc false
  # What the answer means. A keyspace has no status: it is there, or it is not.
  @spec reached?(change(), [map()]) :: boolean()
  def reached?(%{change: "DROPPED"}, rows), do: rows == []
  def reached?(%{target: "KEYSPACE"}, rows), do: rows != []
  def reached?(_change, rows), do: match?([%{"status" => "ACTIVE"}], rows)
end
