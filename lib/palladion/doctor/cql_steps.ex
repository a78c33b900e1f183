defmodule Palladion.Doctor.CQLSteps do
  @moduledoc false
  # Internal: the steps about what the server speaks and whom it lets in.

  alias Palladion.Doctor.{Observations, Step}
  alias Palladion.Printable

  @ids [:protocol, :authenticator, :login]

  @doc false
  @spec build(Observations.t(), Observations.probe() | nil) :: [Step.t(), ...]
  def build(seen, %{cql: %{} = cql}) do
    [protocol(cql), authenticator(cql), login(cql.login, cql, seen)]
  end

  def build(seen, _main) do
    if Observations.refused?(seen),
      do: Enum.map(@ids, &Step.not_verified/1),
      else: Enum.map(@ids, &Step.not_reached/1)
  end

  # Protocol

  defp protocol(%{supported: supported}) do
    cql = supported(supported, "CQL_VERSION")
    versions = supported(supported, "PROTOCOL_VERSIONS")
    compression = supported(supported, "COMPRESSION")
    data = [cql_versions: cql, protocol_versions: versions, compression: compression]

    lines = [
      "CQL: #{join(cql)}",
      "protocol: #{join(versions)}",
      "compression: #{join(compression)}"
    ]

    cond do
      supported == %{} ->
        Step.not_reached(:protocol)

      # Old servers name none.
      versions == [] or Enum.any?(versions, &String.starts_with?(&1, "4/")) ->
        Step.new(:protocol, :ok, "protocol version 4", lines: lines, data: data)

      true ->
        failure = {:unsupported_protocol, %{detail: "it speaks #{join(versions)}"}}
        Step.failed(:protocol, failure, lines: lines, data: data)
    end
  end

  # No server has more of anything.
  @most 100

  defp supported(supported, key) do
    supported |> Map.get(key, []) |> Enum.take(@most) |> Enum.map(&Printable.cut/1)
  end

  defp join([]), do: "none named"
  defp join(texts), do: texts |> Enum.join(", ") |> Printable.cut()

  # Authenticator

  defp authenticator(%{authenticator: class}) when is_binary(class) do
    class = Printable.cut(class)
    Step.new(:authenticator, :ok, class, data: [class: class])
  end

  defp authenticator(%{login: :not_needed}) do
    Step.new(:authenticator, :warning, "none: who reaches the server needs no login",
      advice:
        "Where the network isn't all that protects it, set authenticator: PasswordAuthenticator " <>
          "in cassandra.yaml."
    )
  end

  defp authenticator(_cql), do: Step.not_reached(:authenticator)

  # Login

  defp login(state, cql, seen) do
    if Observations.refused?(seen),
      do: Step.not_verified(:login),
      else: login_tried(state, cql, seen.settings)
  end

  defp login_tried(:ok, _cql, _settings), do: Step.new(:login, :ok, "accepted")
  defp login_tried({_kind, _details} = failure, _cql, _), do: Step.failed(:login, failure)

  defp login_tried(:not_needed, _cql, %{login: true}) do
    Step.new(:login, :warning, "not asked for, though one is configured")
  end

  defp login_tried(:not_needed, _cql, _settings), do: Step.new(:login, :ok, "not needed")

  defp login_tried(:not_tried, %{authenticator: class}, %{login: false}) when is_binary(class) do
    Step.new(:login, :skipped, "not tried: the server asks for one, and none is given",
      reason: :no_login,
      advice: "Give username: and a password (--username, --password-env) to try it."
    )
  end

  defp login_tried(:not_tried, _cql, _settings), do: Step.not_reached(:login)
end
