defmodule Guestbook.MixProject do
  use Mix.Project

  def project do
    [
      app: :guestbook,
      version: "0.1.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      deps: [{:palladion, path: "../.."}],
      releases: [guestbook: [include_executables_for: [:unix]]]
    ]
  end

  def application do
    [mod: {Guestbook.Application, []}, extra_applications: [:logger]]
  end
end
