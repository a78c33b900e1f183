defmodule Bench.Workload do
  # The statements, and a request of each. Every answer is looked at: it is the one asked for.

  # Keys that Cassandra has rows for: it answers from memory.
  @keys 10_000
  @page_rows 5_000
  @text "some text of a usual length"

  @doc "The columns of a page, as the testkit's."
  def page_columns do
    [
      id: "uuid",
      seq: "int",
      name: "text",
      email: "text",
      score: "double",
      visits: "bigint",
      active: "boolean",
      created: "timestamp",
      note: "text"
    ]
  end

  def keys, do: @keys
  def page_rows, do: @page_rows
  def text, do: @text

  @doc "Rows in the answer to one request; 0 if it is no matter."
  def rows("page"), do: @page_rows
  def rows(_workload), do: 0

  def statement("select", "testkit"), do: "SELECT echo(id bigint, name text)"
  def statement("select", "cassandra"), do: "SELECT id, name FROM bench.users WHERE id = ?"
  def statement("insert", "testkit"), do: "INSERT void(id bigint, name text)"
  def statement("insert", "cassandra"), do: "INSERT INTO bench.users (id, name) VALUES (?, ?)"
  def statement("page", "testkit"), do: "SELECT page(#{@page_rows})"

  def statement("page", "cassandra") do
    columns = page_columns() |> Keyword.keys() |> Enum.join(", ")
    "SELECT #{columns} FROM bench.pages WHERE page = 0"
  end

  @doc "A function of a caller's number and of how many requests it has made."
  def request(%{workload: workload, server: %{kind: kind}}, name) do
    prepared = Palladion.prepare!(name, statement(workload, kind))
    request(workload, kind, name, prepared)
  end

  defp request("select", "testkit", name, prepared) do
    fn caller, n ->
      key = key(caller, n)

      {:ok, %{rows: [%{"id" => ^key, "name" => @text}]}} =
        Palladion.execute(name, prepared, [key, @text])
    end
  end

  defp request("select", "cassandra", name, prepared) do
    fn caller, n ->
      key = key(caller, n)

      {:ok, %{rows: [%{"id" => ^key, "name" => @text}]}} =
        Palladion.execute(name, prepared, [key])
    end
  end

  defp request("insert", _kind, name, prepared) do
    fn caller, n ->
      {:ok, %{kind: :void}} = Palladion.execute(name, prepared, [key(caller, n), @text])
    end
  end

  defp request("page", _kind, name, prepared) do
    fn _caller, _n ->
      {:ok, %{num_rows: @page_rows, rows: [%{"seq" => 0} | _]}} =
        Palladion.execute(name, prepared)
    end
  end

  # Callers begin at different keys.
  defp key(caller, n), do: rem(caller * 37 + n, @keys)
end
