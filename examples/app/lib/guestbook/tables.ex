defmodule Guestbook.Tables do
  @moduledoc false
  # Creates what is missing, once, while the application starts.

  alias Guestbook.DB

  def child_spec(_options), do: %{id: __MODULE__, start: {__MODULE__, :start, []}}

  # There is no process to supervise: the work is done when this returns.
  def start do
    with :ok <- Palladion.await_ready(DB, 30_000),
         {:ok, _} <- create_keyspace(),
         {:ok, _} <- create_table(),
         do: :ignore
  end

  defp create_keyspace do
    Palladion.query(DB, """
    CREATE KEYSPACE IF NOT EXISTS guestbook
    WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}
    """)
  end

  defp create_table do
    Palladion.query(DB, """
    CREATE TABLE IF NOT EXISTS guestbook.signatures (
      page int, at timestamp, guest text, message text,
      PRIMARY KEY (page, at, guest)
    )
    """)
  end
end
