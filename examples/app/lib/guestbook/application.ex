defmodule Guestbook.Application do
  @moduledoc false

  use Application

  @impl true
  def start(_type, _args) do
    children = [
      {Palladion, otp_app: :guestbook, name: Guestbook.DB},
      # Returns when the tables are there: what follows can use them.
      Guestbook.Tables
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Guestbook.Supervisor)
  end
end
