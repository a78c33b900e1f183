defmodule Palladion.Doctor do
  @moduledoc """
  Connects to an endpoint step by step and tells what it finds, and what to do about it.

  `mix palladion.doctor` is the same as a command. This module needs no Mix, and so works in a
  release:

      bin/my_app eval 'Palladion.Doctor.run("db1.example") |> Palladion.Doctor.Report.to_text() |> IO.puts()'
      bin/my_app eval 'Palladion.Doctor.run_all(otp_app: :my_app, name: MyApp.DB) |> Palladion.Doctor.Report.to_text() |> IO.puts()'

  which prints

      db1.example:9042 (10.0.0.1)

      [ok]      DNS: 1 address in 0.4 ms
                10.0.0.1
      [ok]      TCP: port 9042 is open
                10.0.0.1: connected in 0.2 ms
      [ok]      TLS: TLS 1.3 and TLS 1.2
                TLS 1.3: TLS_AES_256_GCM_SHA384, x25519, full handshake in 2.1 ms
                TLS 1.2: TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, x25519, full handshake in 2.4 ms
                TLS 1.1: refused, as it should be
                TLS 1.0: refused, as it should be
      [ok]      Certificates: 1 certificate, valid for 364 days
                1. CN=db1.example,O=Example
                   issuer:   CN=Example CA
                   names:    db1.example
                   key:      RSA 2048, X.509 v3
                   validity: 2026-01-01 to 2027-01-01, 364 days left
                   sha256:   5f8b4a...
      [PROBLEM] Trust: the server's certificate comes from an authority that is not trusted
                -> Give that authority's certificate as tls: [cacertfile: ...]; without it, the
                   system's roots are trusted. If you gave it, and it is an authority's
                   (basicConstraints CA:TRUE), this may not be your server.
      [-]       Name: not checked, for it isn't trusted
      [ok]      Client certificate: not asked for
      [-]       Not tried with a server that isn't verified: Resumption, CQL, Authenticator, Login

      1 problem.

  It connects about ten times: to each address by TCP, and to the first that answers with TLS 1.3
  and 1.2 (three times each: to look, as a cluster does, and to resume the session) and with TLS 1.1
  and 1.0, which Palladion itself never speaks. It logs in once. The certificate chain is shown
  whether it can be trusted or not; but neither a password nor the client certificate is sent to a
  server that doesn't pass the verification that was asked for.

  For TLS 1.1 and 1.0 it needs Erlang's `:ssl`, which a release has where `extra_applications:` or
  a dependency names it; without, they are reported as unknown.
  """

  alias Palladion.Cluster.Authenticators
  alias Palladion.{Config, ConfigError, Native}
  alias Palladion.Doctor.{Answers, Network, Observations, OldTLS, Probes, Report}

  @default_port 9042

  @doc """
  Looks at one endpoint.

  ## Options

  Those of `Palladion`, of which these matter:

    * `tls:` - as for a cluster; default `true`, so the system's roots are trusted
    * `auth:` - default none: then it ends where the server asks for a login, unless the client
      certificate is the login. Functions, files and authenticators are asked as by a cluster
    * `protocol:` - its `version:` and `compression:` are looked for among what the server offers;
      default none: then it takes 4 to look, and 3 where that is refused
    * `connect_timeout:`, `tls_timeout:`, `login_timeout:` - in ms, of each connection; defaults
      as for a cluster
    * `otp_app:` with `name:` - takes the options of a configured cluster; those given win

  Raises `Palladion.ConfigError` for options that can't be used. Whatever is wrong with the
  server is in the report.

      report = Palladion.Doctor.run("db1.example", 9042, tls: [cacertfile: "ca.pem"])
      report |> Palladion.Doctor.Report.to_text() |> IO.puts()
  """
  @spec run(String.t(), :inet.port_number(), keyword()) :: Report.t()
  def run(host, port \\ @default_port, options \\ []) do
    [report] = options |> Keyword.put(:contact_points, [{host, port}]) |> run_all()
    report
  end

  @doc """
  Looks at all contact points of a configuration, one after the other.

      Palladion.Doctor.run_all(otp_app: :my_app, name: MyApp.DB)

  Takes the options of `run/3`, and `contact_points:` (`["localhost"]`). Raises as it does.
  """
  @spec run_all(keyword()) :: [Report.t(), ...]
  def run_all(options), do: run_all(options, environment())

  @doc false
  # The environment is a parameter for the tests.
  @spec run_all(keyword(), map()) :: [Report.t(), ...]
  def run_all(options, environment) do
    {:ok, _started} = Application.ensure_all_started(:palladion)

    case options |> Keyword.put_new(:name, __MODULE__) |> Config.load() do
      {:ok, config} -> examine_all(config, environment)
      {:error, %ConfigError{} = error} -> raise error
    end
  end

  defp environment do
    %{
      native: Native,
      answer: &Authenticators.start_link/1,
      resolve: &Network.resolve/2,
      dial: &Network.dial/3,
      old_tls: &OldTLS.ask/5,
      now: fn -> System.os_time(:second) end
    }
  end

  defp examine_all(config, environment) do
    Answers.during(config, environment, fn callbacks ->
      native = config |> Config.to_native() |> Map.put(:callbacks, callbacks)

      for point <- native.contact_points do
        {native, settings} = for_endpoint(config, native, point)
        point |> examine(native, settings, environment) |> Report.build()
      end
    end)
  end

  # A name that is given for the endpoint is its verified name, unless there is one for all.
  defp for_endpoint(config, %{tls: nil} = native, _point), do: {native, settings(config, native)}

  defp for_endpoint(config, native, point) do
    own = Map.get(point, :verified_name)

    native =
      if native.tls.verified_name == nil and own != nil,
        do: put_in(native.tls.verified_name, own),
        else: native

    settings = settings(config, native)
    {native, Map.update!(settings, :verified_name, &if(&1 == nil, do: point.host, else: &1))}
  end

  defp settings(config, %{tls: nil}) do
    %{
      tls: false,
      verify: :none,
      verified_name: false,
      versions: [nil],
      client_certificate: false,
      session_cache: false,
      expiry_warning: nil,
      login: config.auth != nil,
      by_certificate: false,
      protocol: config.protocol
    }
  end

  defp settings(config, %{tls: tls} = native) do
    %{
      tls: true,
      verify: tls.verify,
      verified_name: tls.verified_name,
      # The newest first.
      versions: Enum.sort(tls.versions, :desc),
      client_certificate: tls.cert_chain != [],
      session_cache: tls.session_cache != nil,
      expiry_warning: expiry_warning(config.tls),
      login: config.auth != nil,
      by_certificate: tls.cert_chain != [] and by_certificate?(native.auth),
      protocol: config.protocol
    }
  end

  defp by_certificate?(nil), do: true
  defp by_certificate?(%{method: {:sasl, %{mechanisms: [:external]}}}), do: true
  defp by_certificate?(_other), do: false

  @expiry_warning 30

  defp expiry_warning(tls) do
    with false <- Map.get(tls, :expiry_warning, @expiry_warning), do: nil
  end

  defp examine(point, native, settings, environment) do
    {resolution, us} = timed(fn -> environment.resolve.(point.host, native.connect_timeout) end)

    seen = %Observations{
      host: point.host,
      port: point.port,
      time: environment.now.(),
      settings: settings,
      resolution: resolution,
      resolution_us: us
    }

    case resolution do
      {:ok, addresses} -> dial(seen, addresses, native, environment)
      {:error, _reason} -> seen
    end
  end

  defp dial(seen, addresses, native, environment) do
    dials =
      for address <- addresses do
        {result, us} =
          timed(fn -> environment.dial.(address, seen.port, native.connect_timeout) end)

        {address, result, us}
      end

    case List.keyfind(dials, :ok, 1) do
      {address, :ok, _us} -> probe(%{seen | dials: dials, address: address}, native, environment)
      nil -> %{seen | dials: dials}
    end
  end

  defp probe(seen, native, environment) do
    probes = Probes.run(environment.native, native, seen.host, seen.port, seen.address)
    seen = %{seen | probes: probes}
    if tls?(probes), do: ask_old(seen, native, environment), else: seen
  end

  # Where no TLS is spoken, no older one has to be looked for; where only an older one is, the
  # others were refused.
  defp tls?(probes) do
    Enum.any?(probes, fn {_version, probe} ->
      probe.tls != nil or match?({kind, _} when kind in [:tls_version, :tls_alert], probe.error)
    end)
  end

  defp ask_old(seen, native, environment) do
    sni = sni(native.tls, seen.host)

    answers =
      for version <- OldTLS.versions() do
        timeout = native.tls_timeout
        {version, environment.old_tls.(version, seen.address, seen.port, sni, timeout)}
      end

    %{seen | old_versions: answers}
  end

  defp sni(%{sni: nil, verified_name: name}, host), do: host_name(name || host)
  defp sni(%{sni: false}, _host), do: nil
  defp sni(%{sni: name}, _host), do: name

  # TLS sends no addresses.
  defp host_name(name) do
    case name |> String.to_charlist() |> :inet.parse_strict_address() do
      {:ok, _address} -> nil
      {:error, _} -> name
    end
  end

  defp timed(fun) do
    {us, result} = :timer.tc(fun)
    {result, us}
  end
end
