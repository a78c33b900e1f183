defmodule Palladion.Config.Keyspaces do
  @moduledoc false
  # Internal: `profile: :keyspaces`: what Amazon Keyspaces needs, below what is given.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{ContactPoint, Host, Region, Seal, TLS}
  alias Palladion.ConfigError

  @port 9142

  # Amazon's four, and Starfield's from before them, which older chains end at. Part of the code,
  # so that a release has them.
  @roots Path.join(__DIR__, "keyspaces/roots.pem")
  @external_resource @roots
  @ders for {:Certificate, der, _plain} <- :public_key.pem_decode(File.read!(@roots)), do: der

  # Writes are done at LOCAL_QUORUM, and reads at these three.
  @levels [:local_quorum, :local_one, :one]
  @refused [:any, :two, :three, :quorum, :all, :each_quorum]

  # It has no newer one, and so need not be asked.
  @protocol [version: 4]

  # A table takes seconds to be made, and longer where it is in several regions.
  @schema_agreement [timeout: 60_000, interval: 1_000]

  @typedoc "As `Palladion.Config.Region.find/2`: the region as given, and the name of a profile"
  @type find ::
          (String.t() | nil, String.t() | nil ->
             {:ok, String.t() | nil} | {:error, String.t()})

  # One of these says how to log in.
  @logins [:username, :password, :credentials, :authenticator, :sigv4, :mechanism]

  # Of the service itself, and of one VPC endpoint: both have the region in it.
  @endpoint ~r/(?:\A|\.)cassandra(?:-fips)?\.([a-z0-9-]+)\.(vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)\z/i

  @doc false
  # The authorities' certificates as DER, for the tests.
  @spec roots() :: [binary()]
  def roots, do: @ders

  @doc false
  # The options, with what the service needs below them.
  @spec put(keyword(), find()) :: {keyword(), [ConfigError.problem()]}
  def put(options, find \\ &Region.find/2) do
    hosts = hosts(options[:contact_points])
    auth = auth(options[:auth])
    {region, region_problems} = region(auth, hosts, find)
    {tls, tls_problems} = tls(options, hosts, region)

    given =
      options
      |> Keyword.put(:auth, with_region(auth, region))
      |> Keyword.put(:tls, tls)
      |> Keyword.put(:schema_agreement, section(@schema_agreement, options, :schema_agreement))
      |> Keyword.put(:protocol, section(@protocol, options, :protocol))
      |> Enum.reject(&(&1 == {:local_datacenter, nil}))

    preset = [
      port: @port,
      consistency: :local_quorum,
      retry: :keyspaces,
      # That is what the service calls its data center.
      local_datacenter: region
    ]

    preset = if region, do: [contact_points: [endpoint(region)]] ++ preset, else: preset

    {Keyword.merge(preset, given),
     region_problems ++
       regions(auth, hosts) ++ tls_problems ++ consistency(options[:consistency])}
  end

  @doc false
  # The region of a cluster, by the options that `put/2` has given, if they say it.
  @spec region(keyword()) :: String.t() | nil
  def region(options) do
    given = text(sigv4(options[:auth])[:region])

    (given && String.downcase(given)) ||
      regions_of(hosts(options[:contact_points])) |> List.first()
  end

  # Those given that can be used; of the others there will be a problem.
  defp hosts(nil), do: []

  defp hosts(points) do
    {points, _problems} = ContactPoint.parse(points, @port)
    for point <- points, do: point.host
  end

  # The login

  defp auth(nil), do: [sigv4: true]

  defp auth(given) do
    if Keyword.keyword?(given) and not Enum.any?(@logins, &Keyword.has_key?(given, &1)),
      do: [sigv4: true] ++ given,
      else: given
  end

  # Found once, and the same for the endpoint and the signature. What is given is the login's own
  # to check.
  defp with_region(auth, region) do
    with true <- region != nil and Keyword.keyword?(auth),
         {:ok, sigv4} when sigv4 == true or is_list(sigv4) <- Keyword.fetch(auth, :sigv4),
         sigv4 = if(sigv4 == true, do: [], else: sigv4),
         true <- Keyword.keyword?(sigv4) and sigv4[:region] == nil do
      Keyword.put(auth, :sigv4, Keyword.put(sigv4, :region, region))
    else
      _ -> auth
    end
  end

  # Where a contact point says it, the environment may be another region's. Where an endpoint is
  # given and nothing is signed, it can do without.
  defp region(auth, hosts, find) do
    sigv4 = sigv4(auth)
    known = text(sigv4[:region]) || Enum.find_value(hosts, &region_of/1)

    if hosts == [] or signed?(auth),
      do: found(find.(known, text(sigv4[:profile])), signed?(auth)),
      else: {known, []}
  end

  # All of it is in one region. One that is none is the login's own check to tell.
  defp regions(auth, hosts) do
    named = regions_of(hosts)
    contradicting(named) ++ signed_elsewhere(text(sigv4(auth)[:region]), named)
  end

  defp regions_of(hosts),
    do: hosts |> Enum.map(&region_of/1) |> Enum.reject(&is_nil/1) |> Enum.uniq()

  defp contradicting([_, _ | _] = several) do
    message =
      "name endpoints of #{Enum.join(several, " and ")}; a cluster is in one region: start one " <>
        "for each"

    [problem([:contact_points], :conflict, message)]
  end

  defp contradicting(_one_or_none), do: []

  defp signed_elsewhere(given, [named]) when given != nil do
    case Region.find(given, nil) do
      {:ok, other} when other != named ->
        message = "is #{other}, and the contact points are in #{named}"
        [problem([:auth, :sigv4, :region], :conflict, message)]

      _same_or_wrong ->
        []
    end
  end

  defp signed_elsewhere(_given, _named), do: []

  defp found({:ok, region}, _signed?) when region != nil, do: {region, []}

  # The login's own check says so.
  defp found(_none, true), do: {nil, []}
  defp found({:ok, nil}, false), do: {nil, [missing()]}

  defp found({:error, text}, false),
    do: {nil, [problem([:profile], :invalid_value, "can't tell the region: #{text}")]}

  defp missing do
    message =
      "needs the region, for the endpoint to connect to: set AWS_REGION, or give " <>
        ~s(contact_points: ["cassandra.us-east-1.amazonaws.com"])

    problem([:profile], :required, message)
  end

  defp signed?(auth), do: Keyword.keyword?(auth) and auth[:sigv4] not in [nil, false]

  defp sigv4(auth) do
    with true <- Keyword.keyword?(auth),
         {:ok, sigv4} <- Seal.call(auth[:sigv4]),
         true <- Keyword.keyword?(sigv4) do
      sigv4
    else
      _ -> []
    end
  end

  defp text(value), do: if(is_binary(value) and value != "", do: value)

  defp region_of(host) do
    case Regex.run(@endpoint, host) do
      [_all, region | _] -> String.downcase(region)
      nil -> nil
    end
  end

  defp endpoint("cn-" <> _ = region), do: "cassandra.#{region}.amazonaws.com.cn"
  defp endpoint(region), do: "cassandra.#{region}.amazonaws.com"

  # TLS

  defp tls(options, hosts, region) do
    below = [cacerts: @ders]
    name = verified_name(hosts, region)

    case Keyword.get(options, :tls, true) do
      true ->
        {named(below, [], options, name), []}

      false ->
        # As if it were on, so that this is the one problem.
        {below, [problem([:tls], :conflict, "can't be false: Amazon Keyspaces speaks TLS only")]}

      given ->
        if Keyword.keyword?(given),
          do: {below |> named(given, options, name) |> TLS.override(given), []},
          else: {given, []}
    end
  end

  # Whoever gives names, in one way or the other, gives all of them.
  defp named(below, given, options, name) do
    own? =
      given[:verify_hostname] != nil or given[:server_name_indication] not in [nil, :disable] or
        options[:endpoint_resolver] != nil

    if name == nil or own?, do: below, else: [verify_hostname: name] ++ below
  end

  # The nodes that the service tells of are addresses of its load balancers, and the certificate
  # has the endpoint's name: one for all. Different names of one's own are the resolver's matter.
  defp verified_name([], region), do: region && endpoint(region)

  defp verified_name(hosts, region) do
    case hosts |> Enum.map(&certified_name(&1, region)) |> Enum.uniq() do
      [name] -> name
      _several -> nil
    end
  end

  # A VPC endpoint has the region's certificate, if it is asked for by that name.
  defp certified_name(host, region) do
    cond do
      match?({:ok, _text, :address}, Host.parse(host)) -> region && endpoint(region)
      vpc_endpoint?(host) -> endpoint(region_of(host))
      true -> host
    end
  end

  defp vpc_endpoint?(host), do: match?([_all, _region, "vpce."], Regex.run(@endpoint, host))

  # The rest

  defp section(preset, options, name) do
    given = Keyword.get(options, name, [])
    if Keyword.keyword?(given), do: Keyword.merge(preset, given), else: given
  end

  defp consistency(level) when level in @refused do
    levels = Enum.map_join(@levels, ", ", &inspect/1)
    message = "is #{inspect(level)}, which Amazon Keyspaces refuses; it has #{levels}"
    [problem([:consistency], :conflict, message)]
  end

  defp consistency(_level), do: []

  @doc false
  # What is allowed, and yet worth a line in the log.
  @spec warnings(atom()) :: [{ConfigError.path(), String.t()}]
  def warnings(:local_quorum), do: []

  def warnings(level) do
    text =
      "is #{inspect(level)}: Amazon Keyspaces reads at it, and takes writes at :local_quorum only"

    [{[:consistency], text}]
  end
end
