defmodule Guestbook do
  @moduledoc """
  Guests leave a message, and all can read them.

      iex> Guestbook.sign(1, "Homer", "Sing, goddess")
      :ok
      iex> Guestbook.entries(1)
      [%{"guest" => "Homer", "message" => "Sing, goddess", "at" => ~U[2026-11-21 20:00:00.000Z]}]
  """

  alias Guestbook.DB

  @insert "INSERT INTO guestbook.signatures (page, at, guest, message) VALUES (?, ?, ?, ?)"
  @select "SELECT at, guest, message FROM guestbook.signatures WHERE page = ?"

  @doc "Writes a message onto a page."
  def sign(page, guest, message) do
    values = [page, DateTime.utc_now(), guest, message]
    with {:ok, _} <- Palladion.query(DB, @insert, values), do: :ok
  end

  @doc "The messages of a page, oldest first."
  def entries(page) do
    Palladion.query!(DB, @select, [page]).rows
  end
end
