defmodule Palladion.Doctor.CQLSteps do
  @moduledoc false
  # Internal: the steps about what the server speaks and whom it lets in.

  alias Palladion.Doctor.{Observations, Step}
  alias Palladion.Printable

  @ids [:protocol, :authenticator, :login]

  @doc false
  @spec build(Observations.t(), Observations.probe() | nil) :: [Step.t(), ...]
  def build(seen, %{cql: %{} = cql} = main) do
    [
      protocol(cql, seen.settings.protocol),
      authenticator(cql),
      login(cql.login, cql, main.tls, seen)
    ]
  end

  def build(seen, _main) do
    if Observations.refused?(seen),
      do: Enum.map(@ids, &Step.not_verified/1),
      else: Enum.map(@ids, &Step.not_reached/1)
  end

  # Protocol

  @newest_first [5, 4, 3]

  defp protocol(%{supported: supported, protocol_version: asked_with}, configured) do
    cql = supported(supported, "CQL_VERSION")
    versions = supported(supported, "PROTOCOL_VERSIONS")
    compression = supported(supported, "COMPRESSION")
    data = [cql_versions: cql, protocol_versions: versions, compression: compression]

    lines = [
      "CQL: #{join(cql)}",
      "protocol: #{join(versions)}",
      "compression: #{join(compression)}"
    ]

    version = version(versions, asked_with, configured)

    cond do
      supported == %{} ->
        Step.not_reached(:protocol)

      version == nil ->
        failure = {:unsupported_protocol, %{detail: "it speaks #{join(versions)}"}}
        Step.failed(:protocol, failure, lines: lines, data: data)

      missing?(configured.compression, compression) ->
        details = %{compression: to_string(configured.compression), offered: compression}
        Step.failed(:protocol, {:unsupported_compression, details}, lines: lines, data: data)

      true ->
        data = [protocol_version: version] ++ data
        Step.new(:protocol, :ok, "protocol version #{version}", lines: lines, data: data)
    end
  end

  # The one that a cluster with this configuration would speak. Old servers name none.
  defp version([], asked_with, _configured), do: asked_with

  defp version(names, _asked_with, configured),
    do: configured |> wanted() |> Enum.find(&speaks?(names, &1))

  defp wanted(%{version: nil, compression: :snappy}), do: @newest_first -- [5]
  defp wanted(%{version: nil}), do: @newest_first
  defp wanted(%{version: version}), do: [version]

  # As "4/v4"; "5/v5-beta" is for those who ask for what isn't finished.
  defp speaks?(names, version) do
    Enum.any?(
      names,
      &(String.starts_with?(&1, "#{version}/") and not String.ends_with?(&1, "-beta"))
    )
  end

  defp missing?(nil, _offered), do: false
  defp missing?(compression, offered), do: to_string(compression) not in offered

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

  defp login(state, cql, tls, seen) do
    shown? = match?(%{client_certificate_sent: true}, tls)

    if Observations.refused?(seen),
      do: Step.not_verified(:login),
      else: login_tried(state, cql, Map.update!(seen.settings, :by_certificate, &(&1 and shown?)))
  end

  defp login_tried(:ok, cql, _settings) do
    case cql[:mechanism] do
      nil -> Step.new(:login, :ok, "accepted")
      name -> Step.new(:login, :ok, "accepted (#{name})", data: [mechanism: name])
    end
  end

  # The certificate was shown, and isn't the login here.
  defp login_tried({:auth_required, _details}, cql, %{login: false} = settings),
    do: login_tried(:not_tried, cql, settings)

  defp login_tried({kind, details} = failure, cql, settings) do
    mechanism = cql[:mechanism] || details[:mechanism]
    class = cql.authenticator || details[:class]

    advice =
      if settings.by_certificate and mechanism in [nil, "EXTERNAL"],
        do: refused_advice(kind, class),
        else: []

    data = if mechanism, do: [mechanism: mechanism], else: []
    Step.failed(:login, failure, [data: data] ++ advice)
  end

  defp login_tried(:not_needed, _cql, %{login: true}) do
    Step.new(:login, :warning, "not asked for, though one is configured")
  end

  defp login_tried(:not_needed, _cql, _settings), do: Step.new(:login, :ok, "not needed")

  defp login_tried(:not_tried, %{authenticator: class}, %{login: false}) when is_binary(class) do
    Step.new(:login, :skipped, "not tried: the server asks for one, and none is given",
      reason: :no_login,
      advice: missing_advice(kind(class))
    )
  end

  defp login_tried(:not_tried, _cql, _settings), do: Step.not_reached(:login)

  # What is known of a class by its name: who could log in there, and how.
  defp kind(class) do
    case class |> String.split(".") |> List.last() do
      "MutualTlsWithPasswordFallbackAuthenticator" -> :certificate_or_password
      "MutualTlsAuthenticator" -> :certificate
      "CertificateAuthenticator" -> :certificate
      "HelenusAuthenticator" -> :keyspaces
      _ -> :other
    end
  end

  @password "username: and a password (--username, --password-env)"
  @certificate "tls: [certfile: ..., keyfile: ...] (--certfile, --keyfile)"

  defp missing_advice(:certificate), do: "Give #{@certificate}: the certificate is the login."

  defp missing_advice(:certificate_or_password),
    do: "Give #{@certificate}, for the certificate is the login; or #{@password}."

  defp missing_advice(:keyspaces) do
    "Give sigv4: true (--sigv4, --region) for the credentials that AWS' tools take, or #{@password} " <>
      "of service-specific credentials."
  end

  defp missing_advice(:other), do: "Give #{@password} to try it."

  # Of a certificate the general advice, which is about passwords, would lead astray.
  defp refused_advice(:bad_credentials, class) when is_binary(class) do
    if kind(class) in [:certificate, :certificate_or_password],
      do: [
        advice:
          "Which name the server takes from the certificate is up to its validator; that name " <>
            "must belong to a role: system_auth.identity_to_role has those that do, and " <>
            "ADD IDENTITY adds one."
      ],
      else: []
  end

  defp refused_advice(_kind, _class), do: []
end
